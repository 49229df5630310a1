#include "cli/text.h"

#include <langinfo.h>
#include <locale.h>
#include <string.h>
#include <wchar.h>

#include "base/cleanup.h"
#include "base/str.h"

/* Bytes of an operating system command (the title of a window …) before it is taken for text. */
enum { ESCAPE_STRING_MAX = 4096 };

void text_init(void)
{
    /* In a locale of bytes no character beyond ASCII has a width, but terminals show UTF-8. */
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8"))
        setlocale(LC_CTYPE, "C.UTF-8");
}

/* The character at S (LEN > 0 bytes left): its bytes, and *COLUMNS. */
static size_t character(const char *s, size_t len, size_t *columns)
{
    wchar_t wide;
    mbstate_t state = {0};
    size_t n = mbrtowc(&wide, s, len, &state);
    int width = n == 0 || n > len ? 1 : wcwidth(wide);
    *columns = width < 0 ? 1 : (size_t)width;
    return n == 0 || n > len ? 1 : n;
}

size_t text_fit(const char *s, size_t len, size_t columns)
{
    size_t used = 0;
    for (size_t at = 0, width; at < len; used += width) {
        size_t n = character(s + at, len - at, &width);
        if (used + width > columns)
            return at;
        at += n;
    }
    return len;
}

size_t text_width(const char *s, size_t len)
{
    size_t width, total = 0;
    for (size_t at = 0; at < len; total += width)
        at += character(s + at, len - at, &width);
    return total;
}

void text_append_cut(struct buf *out, const char *s, size_t columns)
{
    size_t len = strcspn(s, "\n");
    size_t fits = text_fit(s, len, columns);
    const char *end = "";
    if (fits < len || s[len]) {
        end = columns > 3 ? "..." : "";
        fits = text_fit(s, len, columns - strlen(end));
    }
    size_t start = out->len;
    buf_append(out, s, fits);
    for (char *p = out->data + start; p < out->data + out->len; p++)
        if (*p == '\t')
            *p = ' ';
    buf_append_str(out, end);
}

/* Bytes of the control string (OSC, DCS, SOS, PM, APC) at S, behind its ESC; 0 when its end does
 * not come soon, so that it cannot hide what follows. */
static size_t control_string(const char *s, size_t len)
{
    size_t max = len < ESCAPE_STRING_MAX ? len : ESCAPE_STRING_MAX;
    for (size_t i = 1; i < max && s[i] != '\n'; i++) {
        if (s[i] == '\a')
            return i + 1;
        if (s[i] == '\x1b' && i + 1 < max && s[i + 1] == '\\')
            return i + 2;
    }
    return 0;
}

/* Bytes of the escape sequence at S, which is an ESC: ECMA-48, sections 5.3 to 5.6. 0 when it is
 * none. */
static size_t escape_sequence(const char *s, size_t len)
{
    if (len < 2)
        return 0;
    if (strchr("]PX^_", s[1])) {
        size_t n = control_string(s + 1, len - 1);
        return n ? n + 1 : 0;
    }
    bool csi = s[1] == '[';
    char last = csi ? 0x3f : 0x2f; /* parameters and intermediates, or intermediates only */
    size_t i = csi ? 2 : 1;
    while (i < len && s[i] >= 0x20 && s[i] <= last)
        i++;
    return i < len && s[i] >= 0x30 && s[i] <= 0x7e ? i + 1 : 0;
}

/* Take the last character of the line back. */
static void take_back(struct buf *out, size_t line)
{
    while (out->len > line && ((unsigned char)out->data[out->len - 1] & 0xc0) == 0x80)
        out->len--;
    if (out->len > line)
        out->len--;
    out->data[out->len] = '\0';
}

/* As a terminal would show S, into OUT; what is left of controls is for the caller. */
static void apply_controls(struct buf *out, const char *s, size_t len)
{
    size_t line = out->len; /* where it starts */
    for (size_t i = 0; i < len; i++) {
        size_t sequence = s[i] == '\x1b' ? escape_sequence(s + i, len - i) : 0;
        if (sequence) {
            i += sequence - 1;
        } else if (s[i] == '\r') {
            if (i + 1 == len || s[i + 1] == '\n')
                continue;
            out->len = line;
        } else if (s[i] == '\b') {
            take_back(out, line);
        } else if (s[i] != '\a') {
            buf_append_char(out, s[i]);
            if (s[i] == '\n')
                line = out->len;
        }
    }
}

void text_append_clean(struct buf *out, const char *s, size_t len)
{
    AUTO_BUF struct buf applied, valid;
    buf_init(&applied, len + 1);
    apply_controls(&applied, s, len);
    buf_init(&valid, applied.len * 3 + 1);
    str_append_utf8(&valid, applied.data, applied.len);
    str_append_terminal_safe(out, valid.data);
}

char *text_clean(const char *s)
{
    size_t len = s ? strlen(s) : 0;
    struct buf out;
    buf_init(&out, len * 12 + 1); /* a byte at worst becomes U+FFFD, or "\xNN" */
    text_append_clean(&out, s ? s : "", len);
    return buf_steal(&out, NULL);
}
