/* Why something was refused, for the program that asked and the person who reads its output. */
#ifndef CODEX_GATEWAY_EGRESS_EXPLAIN_H
#define CODEX_GATEWAY_EGRESS_EXPLAIN_H

#include "base/buf.h"
#include "gateway/egress/policy.h"

/* One sentence, saying what to change. ADDRESS: what HOST was found at, or NULL. */
void egress_explain(enum egress_verdict verdict, const struct net_host *host, uint16_t port,
                    const struct net_address *address, struct buf *out);

#endif
