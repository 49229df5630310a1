#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

bool str_starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends_with(const char *s, const char *suffix)
{
    size_t len = strlen(s), tail = strlen(suffix);
    return len >= tail && memcmp(s + len - tail, suffix, tail) == 0;
}

bool str_is_one_line(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    return true;
}

char *str_dup(const char *s)
{
    if (!s)
        return NULL;
    char *copy = strdup(s);
    if (!copy)
        abort();
    return copy;
}

char *str_format(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *out;
    if (vasprintf(&out, format, args) < 0)
        abort();
    va_end(args);
    return out;
}

bool str_is_plain(const char *s)
{
    for (; *s; s++)
        if (*s <= ' ' || *s >= 0x7f || *s == '"' || *s == '\\')
            return false;
    return true;
}

int str_parse_int(const char *s, int64_t min, int64_t max, int64_t *out)
{
    if (*s != '-' && (*s < '0' || *s > '9'))
        return -EINVAL;
    errno = 0;
    char *end;
    long long n = strtoll(s, &end, 10);
    if (errno || end == s || *end || n < min || n > max)
        return -EINVAL;
    *out = n;
    return 0;
}

int str_parse_size(const char *s, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    char digits[24];
    size_t len = strspn(s, "0123456789");
    int64_t number;
    if (len == 0 || len >= sizeof digits)
        return -EINVAL;
    memcpy(digits, s, len);
    digits[len] = '\0';
    if (str_parse_int(digits, 1, INT64_MAX, &number) < 0)
        return -EINVAL;
    unsigned shift = 0;
    if (s[len]) {
        const char *unit = strchr(units, s[len] & ~0x20);
        if (!unit || s[len + 1])
            return -EINVAL;
        shift = 10 * (unsigned)(unit - units + 1);
    }
    if (number > INT64_MAX >> shift)
        return -EINVAL;
    *bytes = (uint64_t)number << shift;
    return 0;
}

int str_parse_milli(const char *s, uint32_t max, uint32_t *milli)
{
    uint64_t value = 0;
    size_t whole = strspn(s, "0123456789");
    size_t fraction = s[whole] == '.' ? strspn(s + whole + 1, "0123456789") : 0;
    size_t len = whole + (s[whole] == '.' ? 1 + fraction : 0);
    if (whole == 0 || whole > 9 || fraction > 3 || (s[whole] == '.' && !fraction) || s[len])
        return -EINVAL;
    for (size_t i = 0; i < whole; i++)
        value = value * 10 + (uint64_t)(s[i] - '0');
    for (size_t i = 0; i < 3; i++)
        value = value * 10 + (i < fraction ? (uint64_t)(s[whole + 1 + i] - '0') : 0);
    if (value == 0 || value > max)
        return -EINVAL;
    *milli = (uint32_t)value;
    return 0;
}

/* By Unicode 15, table 3-7. */
size_t str_utf8_length(const char *bytes, size_t len)
{
    const unsigned char *p = (const unsigned char *)bytes;
    if (p[0] < 0x80)
        return p[0] ? 1 : 0;
    size_t n = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
               : p[0] >= 0xe0 && p[0] <= 0xef ? 3
               : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                              : 0;
    if (!n || len < n)
        return 0;
    unsigned char low = 0x80, high = 0xbf;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

size_t str_append_utf8(struct buf *out, const char *bytes, size_t len)
{
    size_t i = 0;
    while (i < len) {
        size_t run = 0, n;
        while (i + run < len && (n = str_utf8_length(bytes + i + run, len - i - run)) &&
               run + n <= out->max - out->len)
            run += n;
        buf_append(out, bytes + i, run);
        i += run;
        if (i >= len)
            break;
        if (str_utf8_length(bytes + i, len - i)) /* valid, but there is no room */
            break;
        if (buf_append_str(out, "\xef\xbf\xbd") < 0)
            break;
        i++;
    }
    return i;
}

size_t str_utf8_unfinished(const char *bytes, size_t len)
{
    for (size_t n = 1; n <= 3 && n <= len; n++) {
        unsigned char c = (unsigned char)bytes[len - n];
        if ((c & 0xc0) == 0x80)
            continue;
        size_t wants = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        return wants > n ? n : 0;
    }
    return 0;
}

/* The bidirectional control at P, or 0: the Bidi_Control property of Unicode, U+061C, U+200E,
 * U+200F, U+202A to U+202E, U+2066 to U+2069. */
static unsigned bidi_control(const unsigned char *p)
{
    if (p[0] == 0xd8 && p[1] == 0x9c)
        return 0x061c;
    if (p[0] != 0xe2 || (p[1] != 0x80 && p[1] != 0x81))
        return 0;
    unsigned c = 0x2000U + (p[1] - 0x80U) * 64 + (p[2] & 0x3fU);
    bool control =
        c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
    return control ? c : 0;
}

void str_append_terminal_safe(struct buf *out, const char *s)
{
    for (const unsigned char *p = (const unsigned char *)s; *p; p++) {
        unsigned bidi = bidi_control(p);
        if (bidi) {
            buf_appendf(out, "\\u%04x", bidi);
            p += bidi < 0x800 ? 1 : 2;
            continue;
        }
        bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f;
        if (c1)
            p++;
        if (c1 || (*p < 0x20 && *p != '\n' && *p != '\t') || *p == 0x7f)
            buf_appendf(out, "\\x%02x", *p);
        else
            buf_append_char(out, (char)*p);
    }
}

void str_random_id(char *out, size_t count)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    for (size_t i = 0; i < count;) {
        unsigned char byte;
        if (getrandom(&byte, 1, 0) != 1)
            abort();
        if (byte >= 252) /* 7 * 36: keeps the choice even */
            continue;
        out[i++] = alphabet[byte % 36];
    }
    out[count] = '\0';
}
