/* Addresses that a task asked for and was not let to: of its network.denied events. */
#ifndef CODEX_TASK_REFUSALS_H
#define CODEX_TASK_REFUSALS_H

#include <stddef.h>
#include <stdint.h>

enum { REFUSALS_MAX = 20 };

struct refusal {
    char *host;    /* NULL: of many places together */
    int64_t port;  /* 0: none */
    char *reason;  /* as in docs/protocols.md: "host_not_allowed" …; may be NULL */
    int64_t count; /* how often */
};

/* Those refused most often. Starts as {0}. */
struct refusals {
    struct refusal of[REFUSALS_MAX];
    size_t count;
    int64_t total; /* how many there are, with those that have no room here */
};

void refusals_release(struct refusals *refusals);

#endif
