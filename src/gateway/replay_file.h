/*
 * A replay file: recorded turns of a model, one a line (docs/protocols.md). Read when the first
 * request comes; kept are the places of its lines only.
 */
#ifndef CODEX_GATEWAY_REPLAY_FILE_H
#define CODEX_GATEWAY_REPLAY_FILE_H

#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

enum {
    REPLAY_LINE_MAX = 8 << 20, /* bytes */
    REPLAY_FILE_MAX = 256 << 20,
    REPLAY_TURNS_MAX = 10000,
};

struct replay_place {
    off_t at;
    size_t len;
};

struct replay_file {
    int fd; /* not owned */
    struct replay_place *turns;
    size_t turns_count;
};

/* Check every line of FD. ERR_USAGE: "replay file: line 3: …". */
int replay_file_load(struct replay_file *file, int fd, struct err *err);
void replay_file_release(struct replay_file *file);

/* Turn TURN (from 1; at most turns_count), its items with the ids that it is served with. The
 * caller releases it. NULL on failure. */
json_t *replay_file_turn(const struct replay_file *file, int turn, struct err *err);

#endif
