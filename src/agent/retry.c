#include "agent/retry.h"

#include <stdio.h>
#include <string.h>

/* Half an hour outlasts most outages, and the work of hours is worth the wait. Where nobody was
 * ever reached, the address is most likely wrong, and a person waits to hear it. The timeouts are a
 * little longer than the gateway's (5 minutes), whose answer says more than our own timeout. */
const struct retry_limits retry_defaults = {
    .base_ms = 500,
    .max_ms = 60000,
    .give_up_ms = 1800000,
    .first_contact_ms = 20000,
    .first_byte_timeout_ms = 330000,
    .idle_timeout_ms = 330000,
};

enum { UNLIMITED = 1000000 };

static const struct {
    unsigned tries;  /* how often a failure of this kind is tried again; time limits it too */
    unsigned slower; /* the waits are this many times as long */
    enum agent_exit exit;
} policy[FAILURE_COUNT] = {
    [FAILURE_TRANSPORT] = {UNLIMITED, 1, AGENT_EXIT_MODEL_FAILED},
    [FAILURE_UNREACHABLE] = {UNLIMITED, 1, AGENT_EXIT_MODEL_FAILED},
    [FAILURE_SERVER] = {UNLIMITED, 1, AGENT_EXIT_MODEL_FAILED},
    /* A broken answer was paid for, and often breaks at the same place again. */
    [FAILURE_BROKEN_STREAM] = {8, 1, AGENT_EXIT_MODEL_FAILED},
    [FAILURE_RATE_LIMIT] = {UNLIMITED, 2, AGENT_EXIT_MODEL_BUSY},
    [FAILURE_OVERLOADED] = {UNLIMITED, 4, AGENT_EXIT_MODEL_BUSY},
    [FAILURE_QUOTA] = {0, 1, AGENT_EXIT_MODEL_BUSY},
    [FAILURE_KEY] = {0, 1, AGENT_EXIT_KEY_REFUSED},
    [FAILURE_BUDGET] = {0, 1, AGENT_EXIT_BUDGET},
    [FAILURE_CONTEXT] = {0, 1, AGENT_EXIT_CONTEXT_FULL},
    [FAILURE_FILTERED] = {1, 1, AGENT_EXIT_MODEL_FAILED},
    [FAILURE_REJECTED] = {0, 1, AGENT_EXIT_MODEL_FAILED},
};

enum agent_exit retry_exit(enum failure_kind kind)
{
    return policy[kind].exit;
}

/* base · 2ⁿ up to the maximum, a quarter more or less by chance; what the server asks for, and up
 * to a tenth more, so that not everyone comes back in the same instant. */
static int64_t wait_of(const struct retry *retry, const struct retry_limits *limits,
                       const struct failure *failure, uint32_t random)
{
    if (failure->wait_ms >= 0)
        return failure->wait_ms + failure->wait_ms / 10 * (random % 1024) / 1024;
    int64_t wait_ms = limits->base_ms * policy[failure->kind].slower;
    for (unsigned n = 1; n < retry->failures && wait_ms < limits->max_ms; n++)
        wait_ms *= 2;
    if (wait_ms > limits->max_ms)
        wait_ms = limits->max_ms;
    return wait_ms - wait_ms / 4 + wait_ms / 2 * (random % 1024) / 1024;
}

static int64_t give_up(const struct retry *retry, struct failure *failure, const char *why)
{
    if (retry->failures > 1 || *why) {
        size_t len = strlen(failure->message);
        snprintf(failure->message + len, sizeof failure->message - len, " (gave up after %u %s%s)",
                 retry->failures, retry->failures == 1 ? "try" : "tries", why);
    }
    return -1;
}

int64_t retry_next(struct retry *retry, const struct retry_limits *limits, struct failure *failure,
                   int64_t now_ms, uint32_t random)
{
    if (!retry->failures++)
        retry->first_ms = now_ms;
    if (++retry->of_kind[failure->kind] > policy[failure->kind].tries)
        return give_up(retry, failure, "");
    int64_t wait_ms = wait_of(retry, limits, failure, random);
    bool stranger = failure->kind == FAILURE_UNREACHABLE && !retry->heard;
    int64_t give_up_ms = stranger ? limits->first_contact_ms : limits->give_up_ms;
    if (now_ms + wait_ms - retry->first_ms <= give_up_ms)
        return wait_ms;
    char why[80];
    snprintf(why, sizeof why, "; the next would be in %.1f s", (double)wait_ms / 1000);
    return give_up(retry, failure, why);
}
