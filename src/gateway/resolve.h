/*
 * A host name to its addresses, asynchronously and without a thread (c-ares: /etc/hosts, then DNS).
 */
#ifndef CODEX_GATEWAY_RESOLVE_H
#define CODEX_GATEWAY_RESOLVE_H

#include "base/err.h"
#include "base/net_address.h"
#include "loop/loop.h"

struct resolve;

enum { RESOLVE_ADDRESSES_MAX = 8 };

/* COUNT addresses in the order to try them; 0 when there are none, which ERR explains. Valid during
 * the call. */
typedef void resolve_fn(void *arg, const struct net_address *addresses, size_t count,
                        const struct err *err);

struct resolve_question {
    const char *host;
    const char *resolver; /* ask this name server ("192.0.2.1:53") and nothing else; NULL: as the
                             machine does */
    bool exact;           /* never HOST with a search domain of the machine behind it */
};

/* Begin; FN is called once, later, from the loop. NULL when it cannot even begin. QUESTION is
 * copied. */
struct resolve *resolve_start(struct loop *loop, const struct resolve_question *question,
                              resolve_fn *fn, void *arg, struct err *err);

/* Forget it: FN is not called, or no more. To be called once for each that was started, also in FN.
 * NULL is fine. */
void resolve_free(struct resolve *resolve);

#endif
