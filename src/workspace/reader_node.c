/*
 * node:test's "spec" reporter, nodejs.org/api/test.html (its "tap" is TAP):
 *
 *     ✔ adds (1.2ms)
 *     ▶ suite
 *       ✖ inner (0.1ms)
 *     ✖ suite (1.3ms)
 *     ℹ tests 2
 *     ℹ suites 1
 *     …
 *     ℹ duration_ms 65.5
 */
#include <string.h>

#include "workspace/reader.h"

struct node {
    struct titles titles;
    size_t results, tests, suites;
    bool repeating; /* the failures, once more */
};

/* "(1.2ms)" and what may follow: "# SKIP", "# why". */
static const char *find_duration(const char *text)
{
    for (const char *p = text; (p = strstr(p, "ms)")); p++) {
        const char *from = p;
        while (from > text && strchr("0123456789.", from[-1]))
            from--;
        if (from < p && from > text + 1 && from[-1] == '(' && from[-2] == ' ' &&
            (!p[3] || !strncmp(p + 3, " #", 2)))
            return from - 2;
    }
    return NULL;
}

static void result(struct node *self, struct reading *reading, size_t depth, const char *mark,
                   const char *text)
{
    const char *until = find_duration(text);
    if (!until)
        return;
    bool todo = strstr(until, " # TODO") || strstr(until, " # SKIP");
    enum test_status status = todo || !strcmp(mark, "﹣") ? TEST_CASE_SKIPPED
                              : !strcmp(mark, "✖")        ? TEST_CASE_FAILED
                                                          : TEST_CASE_PASSED;
    self->results++;
    titles_add(&self->titles, depth, reading, status, text, (size_t)(until - text));
}

static void total(struct node *self, struct reading *reading, const char *p)
{
    size_t n;
    if (take_word(&p, "tests ") && take_number(&p, &n))
        self->tests = n;
    else if (take_word(&p, "suites ") && take_number(&p, &n))
        self->suites = n;
    else if (take_word(&p, "cancelled ") && take_number(&p, &n) && n > 0)
        reading->list.cut = true;
    else if (take_word(&p, "duration_ms ")) {
        reading->seen = true;
        reading->broken |= self->results != self->tests + self->suites;
        *self = (struct node){.repeating = true};
    }
}

static void line(void *state, struct reading *reading, const char *text)
{
    static const char *const marks[] = {"✔", "✖", "﹣"};
    struct node *self = state;
    size_t indent = strspn(text, " ");
    const char *p = text + indent;
    if (indent == 0 && take_word(&p, "ℹ ")) {
        total(self, reading, p);
        return;
    }
    if (indent == 0 && !strcmp(p, "✖ failing tests:"))
        self->repeating = true;
    else if (indent == 0 && take_word(&p, "▶ "))
        self->repeating = false;
    if (self->repeating || indent % 2)
        return;
    p = text + indent;
    if (take_word(&p, "▶ ")) {
        titles_set(&self->titles, indent / 2, p, strlen(p));
        return;
    }
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        if (take_word(&p, marks[i]) && take_word(&p, " ")) {
            result(self, reading, indent / 2, marks[i], p);
            return;
        }
}

static void end(void *state, struct reading *reading)
{
}

const struct reader reader_node = {sizeof(struct node), line, end, NULL};
