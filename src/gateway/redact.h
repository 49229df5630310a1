/*
 * Keeping secrets out of a stream: wherever the provider's answer repeats the key that it was asked
 * with (as some servers' error messages do), or another secret of the configuration, the bytes
 * become '*'. The stream's length stays the same.
 */
#ifndef CODEX_GATEWAY_REDACT_H
#define CODEX_GATEWAY_REDACT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum { REDACT_MAX = 9 }; /* secrets */

/* One secret. */
struct redact_stage {
    const char *secret; /* not owned */
    size_t len;
    size_t held;      /* bytes of the secret's front at the end of what came: not passed on yet */
    size_t *fallback; /* owned: how much of a partial match stays one when the next byte differs */
};

struct redact {
    struct redact_stage stages[REDACT_MAX]; /* the bytes pass one after the other */
    size_t count;
    struct buf between[2]; /* two of them */
};

/* KEY may be NULL or "". */
void redact_init(struct redact *redact, const char *key, const char *const *secrets, size_t count);
void redact_release(struct redact *redact);

/* Append to OUT what may be passed on of what was held and of BYTES: at most len and the length of
 * all secrets, for which OUT has room. */
void redact_feed(struct redact *redact, const char *bytes, size_t len, struct buf *out);

/* The stream has ended: what was held is no secret. */
void redact_end(struct redact *redact, struct buf *out);

/* TEXT holds a secret. */
bool redact_finds(const struct redact *redact, const char *text);

#endif
