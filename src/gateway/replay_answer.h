/*
 * One recorded turn as the Responses API would tell it: event by event, so that no answer is ever
 * in memory as a whole.
 */
#ifndef CODEX_GATEWAY_REPLAY_ANSWER_H
#define CODEX_GATEWAY_REPLAY_ANSWER_H

#include <jansson.h>
#include <stddef.h>

#include "base/buf.h"

enum { REPLAY_DELTA_BYTES = 48 };

struct replay_answer {
    const char *model; /* not owned */
    int turn;
    json_t *recorded; /* the turn, owned */

    /* private: what comes next */
    int stage;
    size_t item, part, at;
    unsigned sequence;
};

/* TURN is taken over. */
void replay_answer_init(struct replay_answer *answer, const char *model, int turn,
                        json_t *recorded);
void replay_answer_release(struct replay_answer *answer);

/* Append the next event, as its lines. Returns 1, or 0 behind the last. */
int replay_answer_next(struct replay_answer *answer, struct buf *out);

/* Append the answer to a request that wants no stream: the response object. */
void replay_answer_whole(const struct replay_answer *answer, struct buf *out);

#endif
