/*
 * pytest with -v, also under xdist:
 *
 *     ===== test session starts =====
 *     collected 3 items / 1 skipped
 *     a.py::test_x PASSED                        [ 33%]
 *     [gw0] [ 66%] FAILED a.py::test_y
 *     ===== short test summary info =====
 *     ERROR b.py - ImportError
 *     ===== 1 failed, 1 passed, 1 error in 0.17s =====
 */
#include <stdio.h>
#include <string.h>

#include "workspace/reader.h"

enum { PENDING_MAX = 2048 };

/* How a test can end; `words` are the summary's. */
static const struct {
    const char *token, *words[2];
    enum test_status status;
} outcomes[] = {
    {"PASSED", {"passed", NULL}, TEST_CASE_PASSED},
    {"FAILED", {"failed", NULL}, TEST_CASE_FAILED},
    {"ERROR", {"error", "errors"}, TEST_CASE_FAILED},
    {"SKIPPED", {"skipped", NULL}, TEST_CASE_SKIPPED},
    {"XFAIL", {"xfailed", NULL}, TEST_CASE_SKIPPED},
    {"XPASS", {"xpassed", NULL}, TEST_CASE_PASSED},
};

enum { OUTCOMES = sizeof outcomes / sizeof outcomes[0], ERROR_OUTCOME = 2, SKIPPED_OUTCOME = 3 };

struct pytest {
    bool active;
    enum { RESULTS, DETAILS, SHORT_SUMMARY } section;
    size_t counts[OUTCOMES];
    size_t skipped_files;
    char pending[PENDING_MAX]; /* a test that runs, its outcome in a later line */
};

/* Skip one of the outcomes; -1 when there is none. */
static int take_outcome(const char **at)
{
    for (int i = 0; i < OUTCOMES; i++) {
        const char *p = *at;
        if (take_word(&p, outcomes[i].token) && (!*p || *p == ' ')) {
            *at = p;
            return i;
        }
    }
    return -1;
}

/* Nothing, "[ 50%]", or "(why) [ 50%]". */
static bool is_rest(const char *p)
{
    take_space(&p);
    return !*p || *p == '[' || *p == '(';
}

/* A node id has white space in its brackets only. */
static bool is_node(const char *line, size_t len)
{
    const char *colons = memmem(line, len, "::", 2);
    const char *space = memchr(line, ' ', len), *bracket = memchr(line, '[', len);
    return colons && colons > line && (!space || (bracket && bracket < space));
}

static void take_result(struct pytest *self, struct reading *reading, int outcome, const char *name,
                        size_t len)
{
    self->counts[outcome]++;
    reading_add(reading, outcomes[outcome].status, name, len);
    self->pending[0] = '\0';
}

/* "[gw0] [ 66%] FAILED a.py::test_y" */
static bool xdist_result(struct pytest *self, struct reading *reading, const char *line)
{
    const char *p = line;
    size_t ignored;
    if (!take_word(&p, "[gw") || !take_number(&p, &ignored) || !take_word(&p, "] "))
        return false;
    if (*p == '[' && (p = strchr(p, ']')))
        p++;
    if (!p)
        return true;
    take_space(&p);
    int outcome = take_outcome(&p);
    take_space(&p);
    if (outcome >= 0)
        take_result(self, reading, outcome, p, strlen(p));
    return true;
}

static void result(struct pytest *self, struct reading *reading, const char *line)
{
    const char *p = line;
    if (xdist_result(self, reading, line))
        return;
    int outcome = take_outcome(&p); /* of a test that wrote to the terminal itself */
    if (outcome >= 0 && is_rest(p)) {
        if (self->pending[0])
            take_result(self, reading, outcome, self->pending, strlen(self->pending));
        return;
    }
    for (p = strchr(line, ' '); p; p = strchr(p + 1, ' ')) {
        const char *after = p + 1;
        outcome = take_outcome(&after);
        if (outcome >= 0 && is_rest(after) && is_node(line, (size_t)(p - line))) {
            /* A parameter may look like an outcome: the last one counts. */
            const char *later = strstr(after, "] ");
            const char *next = later ? later + 2 : NULL;
            if (next && take_outcome(&next) >= 0)
                continue;
            take_result(self, reading, outcome, line, (size_t)(p - line));
            return;
        }
    }
    size_t len = strcspn(line, " ");
    if (is_node(line, len) && len < PENDING_MAX)
        snprintf(self->pending, PENDING_MAX, "%.*s", (int)len, line);
}

/* "collected 3 items / 1 error / 1 skipped" */
static void collected(struct pytest *self, const char *line)
{
    size_t n;
    for (const char *p = line; (p = strstr(p, " / "));) {
        p += 3;
        if (take_number(&p, &n) && take_word(&p, " skipped"))
            self->skipped_files = n;
    }
}

/* A file that could not be collected is a failure of its own; it has no line of its own before. */
static void short_summary(struct pytest *self, struct reading *reading, const char *line)
{
    const char *p = line;
    if (!take_word(&p, "ERROR "))
        return;
    const char *dash = strstr(p, " - ");
    size_t len = dash ? (size_t)(dash - p) : strlen(p);
    if (!memmem(p, len, "::", 2))
        take_result(self, reading, ERROR_OUTCOME, p, len);
}

/* The counts of "2 failed, 7 passed, 1 warning in 0.17s"; false when LINE is none such. */
static bool read_summary(const char *line, size_t counts[OUTCOMES])
{
    bool any = false;
    const char *p = line + strspn(line, "= ");
    memset(counts, 0, OUTCOMES * sizeof counts[0]);
    if (take_word(&p, "no tests ran"))
        return !strncmp(p, " in ", 4);
    for (;;) {
        size_t n;
        if (!take_number(&p, &n) || !take_word(&p, " "))
            return false;
        size_t len = strcspn(p, ",");
        const char *in = memmem(p, len, " in ", 4);
        size_t word = in ? (size_t)(in - p) : len;
        for (size_t i = 0; i < OUTCOMES; i++)
            for (size_t w = 0; w < 2 && outcomes[i].words[w]; w++)
                if (strlen(outcomes[i].words[w]) == word &&
                    !memcmp(p, outcomes[i].words[w], word)) {
                    counts[i] = n;
                    any = true;
                }
        if (in)
            return any || strstr(line, "deselected") || strstr(line, "warning");
        p += len;
        if (!take_word(&p, ", "))
            return false;
    }
}

static void finish(struct pytest *self, struct reading *reading, const size_t said[OUTCOMES])
{
    for (size_t i = 0; i < OUTCOMES; i++) {
        size_t files = i == SKIPPED_OUTCOME ? self->skipped_files : 0;
        reading->broken |= self->counts[i] + files != said[i];
    }
    reading->seen = true;
    *self = (struct pytest){0};
}

static void line(void *state, struct reading *reading, const char *text)
{
    struct pytest *self = state;
    size_t said[OUTCOMES];
    bool heading = text[0] == '=';
    if (heading && strstr(text, "= test session starts =")) {
        reading->broken |= self->active; /* the one before has not ended */
        *self = (struct pytest){.active = true};
        return;
    }
    if (read_summary(text, said) && (self->active || heading)) {
        finish(self, reading, said);
        return;
    }
    if (!self->active)
        return;
    if (heading)
        self->section = strstr(text, "= short test summary info =") ? SHORT_SUMMARY : DETAILS;
    else if (text[0] == '!' &&
             (strstr(text, "! stopping after") || strstr(text, "! Interrupted:") ||
              strstr(text, "! xdist.dsession.Interrupted:")))
        reading->list.cut = true;
    else if (!strncmp(text, "collect", 7))
        collected(self, text);
    else if (self->section == RESULTS)
        result(self, reading, text);
    else if (self->section == SHORT_SUMMARY)
        short_summary(self, reading, text);
}

static void end(void *state, struct reading *reading)
{
    const struct pytest *self = state;
    reading->seen |= self->active;
    reading->broken |= self->active;
}

static bool owns(const void *state)
{
    return ((const struct pytest *)state)->active;
}

const struct reader reader_pytest = {sizeof(struct pytest), line, end, owns};
