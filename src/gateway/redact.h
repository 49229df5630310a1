/*
 * Keeping a secret out of a stream: wherever the provider's answer repeats the key that it was
 * asked with (as some servers' error messages do), the bytes become '*'. The stream's length stays
 * the same.
 */
#ifndef CODEX_GATEWAY_REDACT_H
#define CODEX_GATEWAY_REDACT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct redact {
    const char *secret; /* not owned */
    size_t len;
    size_t held;      /* bytes of the secret's front at the end of what came: not passed on yet */
    size_t *fallback; /* owned: how much of a partial match stays one when the next byte differs */
};

/* SECRET may be NULL or "": nothing is kept out. */
void redact_init(struct redact *redact, const char *secret);
void redact_release(struct redact *redact);

/* Append to OUT what may be passed on of what was held and of BYTES: at most len + strlen(secret)
 * bytes, for which OUT has room. */
void redact_feed(struct redact *redact, const char *bytes, size_t len, struct buf *out);

/* The stream has ended: what was held is no secret. */
void redact_end(struct redact *redact, struct buf *out);

/* TEXT holds the secret. */
bool redact_finds(const struct redact *redact, const char *text);

#endif
