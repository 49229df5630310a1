#include "gateway/redact.h"

#include <stdlib.h>
#include <string.h>

/* Knuth, Morris, Pratt 1977: fallback[i] is the length of the longest proper prefix of the secret
 * that also ends secret[0..i]. */
static void fill_fallback(struct redact *redact)
{
    for (size_t i = 1, k = 0; i < redact->len; i++) {
        while (k && redact->secret[i] != redact->secret[k])
            k = redact->fallback[k - 1];
        k += redact->secret[i] == redact->secret[k];
        redact->fallback[i] = k;
    }
}

void redact_init(struct redact *redact, const char *secret)
{
    *redact = (struct redact){.secret = secret, .len = secret ? strlen(secret) : 0};
    if (!redact->len)
        return;
    redact->fallback = calloc(redact->len, sizeof *redact->fallback);
    if (!redact->fallback)
        abort();
    fill_fallback(redact);
}

void redact_release(struct redact *redact)
{
    free(redact->fallback);
    *redact = (struct redact){0};
}

/* Bytes at the front that cannot begin the secret. */
static size_t harmless_span(const struct redact *redact, const char *bytes, size_t len)
{
    const char *first = memchr(bytes, redact->secret[0], len);
    return first ? (size_t)(first - bytes) : len;
}

static void take_byte(struct redact *redact, char c, struct buf *out)
{
    while (redact->held && redact->secret[redact->held] != c) {
        size_t keep = redact->fallback[redact->held - 1];
        buf_append(out, redact->secret, redact->held - keep);
        redact->held = keep;
    }
    if (redact->secret[redact->held] != c) {
        buf_append_char(out, c);
        return;
    }
    if (++redact->held < redact->len)
        return;
    for (size_t i = 0; i < redact->len; i++)
        buf_append_char(out, '*');
    redact->held = 0;
}

void redact_feed(struct redact *redact, const char *bytes, size_t len, struct buf *out)
{
    if (!redact->len) {
        buf_append(out, bytes, len);
        return;
    }
    for (size_t i = 0; i < len; i++) {
        if (!redact->held) {
            size_t span = harmless_span(redact, bytes + i, len - i);
            buf_append(out, bytes + i, span);
            i += span;
            if (i == len)
                return;
        }
        take_byte(redact, bytes[i], out);
    }
}

void redact_end(struct redact *redact, struct buf *out)
{
    buf_append(out, redact->secret, redact->held);
    redact->held = 0;
}

bool redact_finds(const struct redact *redact, const char *text)
{
    return redact->len && strstr(text, redact->secret);
}
