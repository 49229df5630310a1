/*
 * The Test Anything Protocol, testanything.org, versions 12 to 14, with subtests that are indented
 * by four. A stream counts when its plan is there, and agrees.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "workspace/reader.h"

enum { INDENT = 4 };

struct tap {
    struct titles titles; /* of "# Subtest: name" */
    size_t planned, points;
    bool has_plan;
    bool yaml; /* within a block of details, indented by */
    size_t yaml_indent;
};

/* A stream is over when there are as many points as its plan says. */
static bool is_complete(const struct tap *self)
{
    return self->has_plan && self->points >= self->planned;
}

static void restart(struct tap *self)
{
    self->has_plan = false;
    self->points = self->planned = 0;
}

static void plan(struct tap *self, struct reading *reading, size_t planned)
{
    if (is_complete(self))
        restart(self);
    if (self->has_plan) { /* the one before is not over */
        reading->list.cut = true;
        restart(self);
    }
    self->has_plan = true;
    self->planned = planned;
    reading->seen |= self->points > 0; /* a plan alone may be anything */
    reading->broken |= self->points > 0 && self->points != planned;
}

/* The directive "# SKIP why" or "# TODO why" at the end of a description, whose length it cuts. */
static bool has_directive(const char *text, size_t *len)
{
    for (const char *p = text; (p = strchr(p, '#')); p++) {
        const char *word = p + 1;
        if (p > text && p[-1] == '\\')
            continue;
        take_space(&word);
        if (strncasecmp(word, "skip", 4) != 0 && strncasecmp(word, "todo", 4) != 0)
            continue;
        *len = (size_t)(p - text);
        return true;
    }
    return false;
}

static void point(struct tap *self, struct reading *reading, size_t depth, bool ok, const char *p)
{
    size_t number = 0;
    take_space(&p);
    bool numbered = take_number(&p, &number);
    take_space(&p);
    if (*p == '-')
        p++;
    take_space(&p);
    size_t len = strlen(p);
    enum test_status status = ok ? TEST_CASE_PASSED : TEST_CASE_FAILED;
    if (has_directive(p, &len))
        status = TEST_CASE_SKIPPED;
    if (depth == 0) {
        if (is_complete(self) && number <= 1)
            restart(self);
        reading->broken |= is_complete(self);
        self->points++;
        reading->seen |= self->has_plan;
    }
    while (len && strchr(" \t", p[len - 1]))
        len--;
    char fallback[32] = "test";
    if (!len) {
        p = fallback;
        if (numbered)
            len = (size_t)snprintf(fallback, sizeof fallback, "test %zu", number);
        else
            len = strlen(fallback);
    }
    titles_add(&self->titles, depth, reading, status, p, len);
}

static bool skip_yaml(struct tap *self, size_t indent, const char *text)
{
    if (self->yaml) {
        self->yaml = !(indent == self->yaml_indent && !strcmp(text, "..."));
        return true;
    }
    self->yaml = indent % INDENT == 2 && !strcmp(text, "---");
    self->yaml_indent = indent;
    return self->yaml;
}

static bool take_point(const char **p, bool *ok)
{
    *ok = !take_word(p, "not ");
    return take_word(p, "ok") && (!**p || strchr(" \t", **p));
}

static void line(void *state, struct reading *reading, const char *text)
{
    struct tap *self = state;
    size_t indent = strspn(text, " "), n;
    const char *p = text + indent;
    bool ok;
    if (skip_yaml(self, indent, p) || indent % INDENT)
        return;
    size_t depth = indent / INDENT;
    if (take_word(&p, "# Subtest: ")) {
        titles_set(&self->titles, depth, p, strlen(p));
    } else if (depth == 0 && take_word(&p, "1..")) {
        if (take_number(&p, &n) && (!*p || strchr(" \t#", *p)))
            plan(self, reading, n);
    } else if (depth == 0 && take_word(&p, "Bail out!")) {
        reading->list.cut = true;
    } else if (take_point(&p, &ok) && (*p || depth == 0)) {
        if (*p) /* prove's own "ok" stands alone */
            point(self, reading, depth, ok, p);
    }
}

static void end(void *state, struct reading *reading)
{
    const struct tap *self = state;
    if (self->has_plan && self->points < self->planned)
        reading->list.cut = true;
}

const struct reader reader_tap = {sizeof(struct tap), line, end, NULL};
