/* What a test runner prints about a single test that failed. */
#include <string.h>

#include "base/cleanup.h"
#include "base/json_text.h"
#include "base/str.h"
#include "workspace/proof.h"

enum { EXCERPTS = 5, LINES = 30, BYTES = 1500, KEY_MIN = 3, KEY_MAX = 256 };

/* What a line has that begins a report: of pytest, unittest, cargo, jest, TAP, node, vitest, go. */
static const char *const marks[] = {"____",    "FAIL: ", "ERROR: ", "---- ",     "● ",
                                    "not ok ", "✖ ",     " FAIL  ", "--- FAIL: "};

/* The part of a test's name that its runner repeats: "test_x" of "a.py::T::test_x[1]". */
static size_t find_key(const char *name, size_t len, const char **key)
{
    const char *bracket = memchr(name, '[', len);
    if (bracket && bracket > name)
        len = (size_t)(bracket - name);
    size_t from = len;
    while (from && !strchr(":./", name[from - 1]) &&
           !(from > 1 && name[from - 1] == ' ' && name[from - 2] == '>'))
        from--;
    *key = name + from;
    return len - from;
}

static bool is_marked(const char *line, size_t len)
{
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (memmem(line, len, marks[i], strlen(marks[i])))
            return true;
    return false;
}

/* The line of TEXT that a report on KEY begins with; else the last one that names it; else NULL. */
static const char *find_report(const char *text, size_t len, const char *key, size_t key_len)
{
    const char *end = text + len, *found = NULL;
    for (const char *at = text; at < end;) {
        const char *hit = memmem(at, (size_t)(end - at), key, key_len);
        if (!hit)
            break;
        const char *before = memrchr(text, '\n', (size_t)(hit - text));
        const char *line = before ? before + 1 : text;
        const char *newline = memchr(hit, '\n', (size_t)(end - hit));
        size_t line_len = (size_t)((newline ? newline : end) - line);
        found = line;
        if (is_marked(line, line_len))
            return line;
        at = newline ? newline + 1 : end;
    }
    return found;
}

static size_t excerpt_length(const char *from, const char *end)
{
    const char *p = from;
    for (int lines = 0; lines < LINES && p < end; lines++) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        const char *next = newline ? newline + 1 : end;
        if (next - from > BYTES)
            break;
        p = next;
    }
    return p > from ? (size_t)(p - from) : (size_t)(end - from < BYTES ? end - from : BYTES);
}

void excerpts_append(const struct test_change_names *names, const struct buf *output, size_t tail,
                     size_t max, struct buf *json)
{
    const char *at = NULL, *name, *key;
    size_t len, count = 0;
    AUTO_BUF struct buf all;
    buf_init(&all, max);
    buf_append_char(&all, '[');
    const size_t head = output->len > tail ? output->len - tail : 0;
    while (head && count < EXCERPTS && test_change_names_next(names, &at, &name, &len)) {
        size_t key_len = find_key(name, len, &key);
        if (key_len < KEY_MIN || key_len > KEY_MAX)
            continue;
        const char *from = find_report(output->data, head, key, key_len);
        if (!from)
            continue;
        AUTO_BUF struct buf one;
        buf_init(&one, max);
        buf_append_str(&one, count ? ",{\"test\":" : "{\"test\":");
        json_text_string(&one, name, len);
        buf_append_str(&one, ",\"output\":");
        json_text_string(&one, from, excerpt_length(from, output->data + output->len));
        if (buf_append_char(&one, '}') < 0 || all.len + one.len + 1 > max)
            break; /* too long: rather none than a part of it */
        buf_append(&all, one.data, one.len);
        count++;
    }
    buf_append_char(&all, ']');
    buf_append(json, all.data, all.len);
}
