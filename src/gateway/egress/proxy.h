/*
 * The HTTP proxy: `http://127.0.0.1:64081` in each of the run's sandboxes. CONNECT, and plain
 * requests for http:// addresses, one a connection; within the run's policy (policy.h), everything
 * else is answered with 403, the header X-Codex-Denied, and a sentence that says what to change.
 */
#ifndef CODEX_GATEWAY_EGRESS_PROXY_H
#define CODEX_GATEWAY_EGRESS_PROXY_H

#include "gateway/egress/policy.h"
#include "gateway/egress/record.h"
#include "loop/loop.h"

enum {
    PROXY_LISTENERS_MAX = 2,
    PROXY_CONNECTIONS_MAX = 256,
    PROXY_PIECE_MAX = 65536, /* bytes that a connection holds in each direction */
    PROXY_LINGER_MS = 2000,
};

struct proxy;

/* POLICY and RECORD live as long as the proxy does. HELD: POLICY is not known in full yet; whoever
 * connects waits until proxy_begin(). */
struct proxy *proxy_new(struct loop *loop, const struct egress_policy *policy,
                        struct record *record, bool held);
void proxy_begin(struct proxy *proxy);
void proxy_free(struct proxy *proxy); /* ends every connection; NULL is fine */

/* Accept connections from FD (owned from here on) instead of from the one before in PLACE (below
 * PROXY_LISTENERS_MAX). */
int proxy_listen(struct proxy *proxy, unsigned place, int fd, struct err *err);
void proxy_stop_listening(struct proxy *proxy, unsigned place);

#endif
