/*
 * A connection to a host of the internet: its name is resolved, every address that came is checked
 * by the policy, and one of exactly these is connected to. A name that leads to a forbidden address
 * among others is refused as a whole.
 */
#ifndef CODEX_GATEWAY_EGRESS_DIAL_H
#define CODEX_GATEWAY_EGRESS_DIAL_H

#include "gateway/egress/policy.h"
#include "loop/loop.h"

struct dial;

struct dial_end {
    int fd; /* connected and non-blocking, the callee's; -1: there is none */
    /* Why, when there is none: it is denied, with the address that was the reason, … */
    enum egress_verdict verdict;
    struct net_address address;
    /* … or (EGRESS_ALLOWED) it failed. */
    bool timed_out;
    const char *message;
};

typedef void dial_fn(void *arg, const struct dial_end *end);

/* FN is called once, from the loop, never before this has returned. POLICY and HOST must live as
 * long as the dial. */
struct dial *dial_start(struct loop *loop, const struct egress_policy *policy,
                        const struct net_host *host, uint16_t port, dial_fn *fn, void *arg);

/* To be called once, also in FN. NULL is fine. */
void dial_free(struct dial *dial);

#endif
