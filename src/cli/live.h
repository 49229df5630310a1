/*
 * What a task is doing right now, gathered from its events: the block at the bottom of a terminal.
 *
 *     working 2m14s (all 2m31s), 41.2k tokens in, 3.1k out
 *     $ npm test (12s)
 *     | > demo@1.0.0 test
 */
#ifndef CODEX_CLI_LIVE_H
#define CODEX_CLI_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/buf.h"

enum {
    LIVE_COMMANDS = 8, /* running side by side, of which the newest is shown */
    LIVE_ID_SIZE = 64,
    LIVE_TAIL_MAX = 4096, /* bytes of output kept */
    LIVE_LINES_MAX = 8,   /* of the block */
};

struct live_command {
    char id[LIVE_ID_SIZE]; /* of the item; "" when free */
    char *command;
    int64_t started_ms;
    struct buf tail;
};

struct live {
    char state[16], phase[16];
    int64_t round;
    int64_t created_ms, phase_ms; /* since the epoch, -1 when not known */
    int64_t input_tokens, output_tokens;
    char *waiting_for, *activity;
    struct live_command commands[LIVE_COMMANDS];
    struct buf tail; /* of the phase's output */
    bool ended;
};

void live_init(struct live *live);
void live_release(struct live *live);

/* An event of the task, each once and in order. */
void live_event(struct live *live, const json_t *event);

/* The task as the server tells it now: why it waits, what it runs. */
void live_task(struct live *live, const json_t *task);

/* Lines of at most COLUMNS - 1 columns, at most ROWS of them, each with its "\n". */
void live_append(const struct live *live, int64_t now_ms, size_t columns, size_t rows, bool color,
                 struct buf *out);

#endif
