/*
 * Whether and when a failed request to the model is sent again. The policy is one table, in
 * retry.c, by kind of failure.
 */
#ifndef CODEX_AGENT_RETRY_H
#define CODEX_AGENT_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/failure.h"
#include "task/exit.h"

/* Limits; task.json's `retry` may set each. All in milliseconds. */
struct retry_limits {
    int64_t base_ms;          /* the first wait; doubled each time */
    int64_t max_ms;           /* the longest wait of our own; the server may ask for more */
    int64_t give_up_ms;       /* no wait that ends later than this after the first failure */
    int64_t first_contact_ms; /* the same for a provider that cannot be reached and never was */
    int64_t first_byte_timeout_ms;
    int64_t idle_timeout_ms;
};

extern const struct retry_limits retry_defaults;

/* The failures of one request, since it was first sent. All zero at first, but for `heard`. */
struct retry {
    unsigned failures;
    unsigned of_kind[FAILURE_COUNT];
    int64_t first_ms;
    bool heard; /* the model has answered before, in this conversation */
};

/*
 * FAILURE has come at NOW_MS (monotonic). Returns the milliseconds to wait before the next try, or
 * -1 when there is to be none; then FAILURE's message says after how many tries. RANDOM, any
 * number, spreads the waits of many tasks.
 */
int64_t retry_next(struct retry *retry, const struct retry_limits *limits, struct failure *failure,
                   int64_t now_ms, uint32_t random);

/* The exit status of an agent that gives up after a failure of this kind. */
enum agent_exit retry_exit(enum failure_kind kind);

#endif
