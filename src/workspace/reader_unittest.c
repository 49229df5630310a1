/*
 * Python's unittest with -v:
 *
 *     test_x (pkg.Class.test_x) ... ok
 *     test_y (pkg.Class)              before Python 3.11; a first line of documentation may follow
 *     What it is about ... FAIL
 *     Ran 2 tests in 0.020s
 *     FAILED (failures=1)
 */
#include <stdio.h>
#include <string.h>

#include "workspace/reader.h"

enum { NAME_MAX_BYTES = 1024 };

struct unittest {
    size_t started, resolved, skipped;
    char pending[NAME_MAX_BYTES];
};

static bool read_status(const char *text, enum test_status *status)
{
    *status = TEST_CASE_SKIPPED;
    if (!strcmp(text, "expected failure") || !strncmp(text, "skipped", 7))
        return true;
    *status = TEST_CASE_FAILED;
    if (!strcmp(text, "FAIL") || !strcmp(text, "ERROR") || !strcmp(text, "unexpected success"))
        return true;
    *status = TEST_CASE_PASSED;
    return !strcmp(text, "ok");
}

static bool is_identifier(const char *text, size_t len, bool dots)
{
    for (size_t i = 0; i < len; i++)
        if (strchr(" ()=,:;'\"", text[i]) || (text[i] == '.' && !dots))
            return false;
    return len > 0;
}

/* The name at the start of LINE, "test_x (pkg.Class.test_x)", as one. Returns what is behind it;
 * NULL when there is none. */
static const char *take_name(const char *line, char name[NAME_MAX_BYTES])
{
    size_t method = strcspn(line, " ");
    const char *open = line + method;
    if (!is_identifier(line, method, false) || strncmp(open, " (", 2) != 0)
        return NULL;
    size_t where = strcspn(open + 2, ")");
    if (open[2 + where] != ')' || !is_identifier(open + 2, where, true))
        return NULL;
    const char *in = open + 2;
    bool whole = where > method + 1 && in[where - method - 1] == '.' &&
                 !memcmp(in + where - method, line, method);
    if (where + method + 2 > NAME_MAX_BYTES)
        return NULL;
    if (whole)
        snprintf(name, NAME_MAX_BYTES, "%.*s", (int)where, in);
    else
        snprintf(name, NAME_MAX_BYTES, "%.*s.%.*s", (int)where, in, (int)method, line);
    return in + where + 1;
}

static void resolve(struct unittest *self, struct reading *reading, enum test_status status)
{
    if (strstr(self->pending, "._FailedTest.")) /* a file that could not be imported */
        reading->list.cut = true;
    reading_add(reading, status, self->pending, strlen(self->pending));
    self->pending[0] = '\0';
    self->resolved++;
    self->skipped += status == TEST_CASE_SKIPPED;
}

/* setUpClass, setUpModule and their opposites are no tests, but when they fail others do not run. */
static void failed_frame(struct unittest *self, struct reading *reading, const char *name)
{
    reading_add(reading, TEST_CASE_FAILED, name, strlen(name));
    reading->list.cut = true;
    self->pending[0] = '\0';
}

static bool is_frame(const char *line)
{
    return !strncmp(line, "setUp", 5) || !strncmp(line, "tearDown", 8);
}

/* The end of "… ... ok"; NULL when there is none. */
static const char *last_dots(const char *text)
{
    const char *dots = NULL;
    for (const char *p = text; (p = strstr(p, "... ")); p++)
        dots = p;
    return dots ? dots + 4 : NULL;
}

/* Returns what is still to be read of it: before Python 3.11 the next test may follow in the same
 * line. NULL: nothing. */
static const char *test_line(struct unittest *self, struct reading *reading, const char *text)
{
    char name[NAME_MAX_BYTES];
    enum test_status status;
    bool part = !strncmp(text, "  ", 2); /* of a test: subTest() */
    const char *after = take_name(part ? text + 2 : text, name);
    const char *said = last_dots(after ? after : text);
    bool known = said && read_status(said, &status);
    if (after && part) {
        if (known)
            reading_add(reading, status, name, strlen(name));
        if (known && !strcmp(name, self->pending))
            resolve(self, reading, status);
        return NULL;
    }
    if (after && is_frame(text)) {
        if (known && status == TEST_CASE_FAILED)
            failed_frame(self, reading, name);
        return NULL;
    }
    if (after && (!*after || !strncmp(after, " ...", 4))) {
        if (self->pending[0]) /* it ended without a word: a part of it failed */
            resolve(self, reading, TEST_CASE_FAILED);
        snprintf(self->pending, sizeof self->pending, "%s", name);
        self->started++;
        if (!strncmp(after, " ... ", 5) && take_name(after + 5, name))
            return after + 5;
        if (known)
            resolve(self, reading, status);
        return NULL;
    }
    if (self->pending[0] && (known || read_status(text, &status)))
        resolve(self, reading, status);
    return NULL;
}

static void line(void *state, struct reading *reading, const char *text)
{
    struct unittest *self = state;
    const char *p = text;
    size_t ran;
    if (take_word(&p, "Ran ") && take_number(&p, &ran) && take_word(&p, " test") &&
        strstr(p, " in ")) {
        if (self->pending[0])
            resolve(self, reading, TEST_CASE_FAILED);
        reading->seen = true;
        /* Python 3.12.1 does not count what is skipped. */
        reading->broken |= self->resolved != self->started || ran > self->started ||
                           ran + self->skipped < self->started;
        *self = (struct unittest){0};
        return;
    }
    if (!strncmp(text, "=====", 5)) { /* tracebacks follow */
        if (self->pending[0])
            resolve(self, reading, TEST_CASE_FAILED);
        return;
    }
    while (text)
        text = test_line(self, reading, text);
}

static void end(void *state, struct reading *reading)
{
}

const struct reader reader_unittest = {sizeof(struct unittest), line, end, NULL};
