/*
 * A task's events as they come: server-sent events, gone on with after the last one whenever the
 * connection breaks or codexd restarts, until the event that ended the task.
 */
#ifndef CODEX_CLI_STREAM_H
#define CODEX_CLI_STREAM_H

#include <stdint.h>

#include <jansson.h>

#include "base/err.h"
#include "cli/api.h"

enum {
    STREAM_EVENT_MAX = 8 << 20,  /* bytes of one event */
    STREAM_IDLE_MS = 120 * 1000, /* codexd sends a comment far more often */
    STREAM_RETRY_MIN_MS = 100,
    STREAM_RETRY_MAX_MS = 2000,
    STREAM_AWAY_MAX_MS = 10 * 60 * 1000, /* then it is given up: nobody restarts that codexd */
};

struct stream_handlers {
    /* The next event: each once, in order. */
    void (*event)(void *arg, const json_t *event);
    /* codexd is away (WHY, once for each time), and there again (WHY is NULL). */
    void (*away)(void *arg, const char *why);
    /* It is over: STATUS 0 when the task has ended, else the code in ERR. No call comes after it,
     * but the stream still is the caller's to free. */
    void (*end)(void *arg, int status, const struct err *err);
};

struct stream;

/* Begin with the first event of the task ID. API (its loop, its socket) outlives the stream. */
struct stream *stream_start(struct api *api, const char *id, const struct stream_handlers *handlers,
                            void *arg);

/* Not in a handler. NULL is fine. */
void stream_free(struct stream *stream);

#endif
