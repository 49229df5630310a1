/*
 * A task's events as lines for a person: what `logs` prints. Knows nothing of terminals but whether
 * they have colour, and of time only what the events say.
 *
 *     10:22:05 baseline
 *              | > demo@1.0.0 test
 *     10:22:07   npm test: exit 0 in 2.1s
 */
#ifndef CODEX_CLI_RENDER_H
#define CODEX_CLI_RENDER_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/buf.h"

enum {
    RENDER_PARTIAL_MAX = 16384, /* bytes of a line without its end before it counts as one */
    RENDER_BRIEF_LINES = 10,    /* of a failed command's output, when brief */
    RENDER_ITEM_SIZE = 64,
    RENDER_EVENT_MAX = 64 << 20, /* bytes of the lines of one event */
};

struct render {
    bool color;
    bool brief;        /* leave output and long thoughts out, but for the end of what failed */
    const char *phase; /* only events of this phase; NULL: all */
    /* private */
    struct buf partial;             /* output whose line has not ended */
    char command[RENDER_ITEM_SIZE]; /* the item whose "$ command" line was the last thing printed */
    char *plan;                     /* as it was last shown */
    char day[16];
};

/* Set the public members of a zeroed struct first. */
void render_init(struct render *render);
void render_release(struct render *render);

/* Append the lines of EVENT to OUT, all of them whole; some events have none. */
void render_event(struct render *render, const json_t *event, struct buf *out);

/* No more events come for now: append what is left of a partial line. */
void render_flush(struct render *render, struct buf *out);

#endif
