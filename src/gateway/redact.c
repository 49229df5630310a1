#include "gateway/redact.h"

#include <stdlib.h>
#include <string.h>

/* Knuth, Morris, Pratt 1977: fallback[i] is the length of the longest proper prefix of the secret
 * that also ends secret[0..i]. */
static void fill_fallback(struct redact_stage *stage)
{
    for (size_t i = 1, k = 0; i < stage->len; i++) {
        while (k && stage->secret[i] != stage->secret[k])
            k = stage->fallback[k - 1];
        k += stage->secret[i] == stage->secret[k];
        stage->fallback[i] = k;
    }
}

static void add_stage(struct redact *redact, const char *secret)
{
    if (!secret || !*secret)
        return;
    struct redact_stage *stage = &redact->stages[redact->count++];
    *stage = (struct redact_stage){.secret = secret, .len = strlen(secret)};
    stage->fallback = calloc(stage->len, sizeof *stage->fallback);
    if (!stage->fallback)
        abort();
    fill_fallback(stage);
}

void redact_init(struct redact *redact, const char *key, const char *const *secrets, size_t count)
{
    *redact = (struct redact){0};
    for (size_t i = 0; i < 2; i++)
        buf_init(&redact->between[i], 1 << 20);
    add_stage(redact, key);
    for (size_t i = 0; i < count && redact->count < REDACT_MAX; i++)
        add_stage(redact, secrets[i]);
}

void redact_release(struct redact *redact)
{
    for (size_t i = 0; i < redact->count; i++)
        free(redact->stages[i].fallback);
    for (size_t i = 0; i < 2; i++)
        buf_release(&redact->between[i]);
    redact->count = 0;
}

/* Bytes at the front that cannot begin the secret. */
static size_t harmless_span(const struct redact_stage *stage, const char *bytes, size_t len)
{
    const char *first = memchr(bytes, stage->secret[0], len);
    return first ? (size_t)(first - bytes) : len;
}

static void take_byte(struct redact_stage *stage, char c, struct buf *out)
{
    while (stage->held && stage->secret[stage->held] != c) {
        size_t keep = stage->fallback[stage->held - 1];
        buf_append(out, stage->secret, stage->held - keep);
        stage->held = keep;
    }
    if (stage->secret[stage->held] != c) {
        buf_append_char(out, c);
        return;
    }
    if (++stage->held < stage->len)
        return;
    for (size_t i = 0; i < stage->len; i++)
        buf_append_char(out, '*');
    stage->held = 0;
}

static void feed_stage(struct redact_stage *stage, const char *bytes, size_t len, struct buf *out)
{
    for (size_t i = 0; i < len; i++) {
        if (!stage->held) {
            size_t span = harmless_span(stage, bytes + i, len - i);
            buf_append(out, bytes + i, span);
            i += span;
            if (i == len)
                return;
        }
        take_byte(stage, bytes[i], out);
    }
}

/* Through the stages from FIRST on. */
static void feed_from(struct redact *redact, size_t first, const char *bytes, size_t len,
                      struct buf *out)
{
    for (size_t i = first; i < redact->count; i++) {
        bool is_last = i + 1 == redact->count;
        struct buf *to = is_last ? out : &redact->between[i % 2];
        if (!is_last)
            buf_clear(to);
        feed_stage(&redact->stages[i], bytes, len, to);
        bytes = to->data;
        len = to->len;
    }
    if (first >= redact->count)
        buf_append(out, bytes, len);
}

void redact_feed(struct redact *redact, const char *bytes, size_t len, struct buf *out)
{
    feed_from(redact, 0, bytes, len, out);
}

void redact_end(struct redact *redact, struct buf *out)
{
    for (size_t i = 0; i < redact->count; i++) {
        struct redact_stage *stage = &redact->stages[i];
        feed_from(redact, i + 1, stage->secret, stage->held, out);
        stage->held = 0;
    }
}

bool redact_finds(const struct redact *redact, const char *text)
{
    for (size_t i = 0; i < redact->count; i++)
        if (strstr(text, redact->stages[i].secret))
            return true;
    return false;
}
