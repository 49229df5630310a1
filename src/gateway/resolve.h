/*
 * A host name to its addresses, asynchronously and without a thread (c-ares: /etc/hosts, then DNS).
 */
#ifndef CODEX_GATEWAY_RESOLVE_H
#define CODEX_GATEWAY_RESOLVE_H

#include "base/err.h"
#include "loop/loop.h"

struct resolve;

enum { RESOLVE_ADDRESSES_MAX = 8 };

/* ADDRESSES: "192.0.2.1,[2001:db8::1]", in the order to try them; NULL when there are none, which
 * ERR explains. Valid during the call. */
typedef void resolve_fn(void *arg, const char *addresses, const struct err *err);

/* Begin; FN is called once, later, from the loop. NULL when it cannot even begin. */
struct resolve *resolve_start(struct loop *loop, const char *host, resolve_fn *fn, void *arg,
                              struct err *err);

/* Forget it: FN is not called, or no more. To be called once for each that was started, also in FN.
 * NULL is fine. */
void resolve_free(struct resolve *resolve);

#endif
