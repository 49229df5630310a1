#include "agent/tools/patch_text.h"

#include <stdint.h>
#include <string.h>

#include "base/str.h"

enum { MALFORMED = 0x40000000 }; /* plus the byte: beyond Unicode, equal to itself only */

/* The character at AT (LEN > 0 bytes are left) and how many bytes it takes. */
static uint32_t decode(const char *at, size_t len, size_t *taken)
{
    const unsigned char *p = (const unsigned char *)at;
    size_t length = str_utf8_length(at, len);
    *taken = length ? length : 1;
    if (length == 0)
        return MALFORMED + p[0];
    if (length == 1)
        return p[0];
    uint32_t character = p[0] & (0x7fU >> length);
    for (size_t i = 1; i < length; i++)
        character = character << 6 | (p[i] & 0x3fU);
    return character;
}

/* The character that ends at S's end. */
static uint32_t decode_last(struct slice s, size_t *taken)
{
    for (size_t back = 1; back <= 4 && back <= s.len; back++) {
        const char *start = s.at + s.len - back;
        if ((*start & 0xc0) == 0x80)
            continue;
        uint32_t character = decode(start, back, taken);
        if (*taken == back)
            return character;
        break;
    }
    *taken = 1;
    return MALFORMED + (unsigned char)s.at[s.len - 1];
}

static bool is_white_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

/* Typographic punctuation to the ASCII character that a model types for it. */
static uint32_t fold_punctuation(uint32_t c)
{
    if ((c >= 0x2010 && c <= 0x2015) || c == 0x2212)
        return '-';
    if (c >= 0x2018 && c <= 0x201b)
        return '\'';
    if (c >= 0x201c && c <= 0x201f)
        return '"';
    if (c == 0xa0 || (c >= 0x2002 && c <= 0x200a) || c == 0x202f || c == 0x205f || c == 0x3000)
        return ' ';
    return c;
}

struct slice slice_of(const char *s)
{
    return (struct slice){s, strlen(s)};
}

struct slice slice_trim_end(struct slice s)
{
    size_t taken;
    while (s.len && is_white_space(decode_last(s, &taken)))
        s.len -= taken;
    return s;
}

struct slice slice_trim(struct slice s)
{
    size_t taken;
    while (s.len && is_white_space(decode(s.at, s.len, &taken))) {
        s.at += taken;
        s.len -= taken;
    }
    return slice_trim_end(s);
}

bool slice_is(struct slice s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

bool slice_skip(struct slice *s, const char *prefix)
{
    size_t len = strlen(prefix);
    if (s->len < len || memcmp(s->at, prefix, len) != 0)
        return false;
    s->at += len;
    s->len -= len;
    return true;
}

static bool equal_when_folded(struct slice a, struct slice b)
{
    while (a.len && b.len) {
        size_t taken_a, taken_b;
        uint32_t left = fold_punctuation(decode(a.at, a.len, &taken_a));
        if (left != fold_punctuation(decode(b.at, b.len, &taken_b)))
            return false;
        a.at += taken_a, a.len -= taken_a;
        b.at += taken_b, b.len -= taken_b;
    }
    return a.len == b.len;
}

bool slice_alike(struct slice a, struct slice b, enum patch_likeness likeness)
{
    if (likeness == PATCH_TRIM_END) {
        a = slice_trim_end(a);
        b = slice_trim_end(b);
    } else if (likeness >= PATCH_TRIM) {
        a = slice_trim(a);
        b = slice_trim(b);
    }
    if (likeness == PATCH_PUNCTUATION)
        return equal_when_folded(a, b);
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}
