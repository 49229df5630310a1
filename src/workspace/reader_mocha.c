/*
 * mocha's "spec" reporter, its default:
 *
 *       math
 *         ✔ adds
 *         1) fails
 *         - skips
 *       1 passing (5ms)
 *       1 pending
 *       1 failing
 */
#include <string.h>

#include "workspace/reader.h"

struct mocha {
    struct titles titles;
    struct tally tally, said;
    enum { RUNNING, COUNTING, OVER } state;
};

static void result(struct mocha *self, struct reading *reading, size_t depth,
                   enum test_status status, const char *name)
{
    size_t len = strlen(name);
    drop_duration(name, &len);
    if (status == TEST_CASE_FAILED && strstr(name, "\" hook"))
        reading->list.cut = true; /* the tests behind it did not run */
    tally_add(&self->tally, status);
    titles_add(&self->titles, depth, reading, status, name, len);
}

static void running(struct mocha *self, struct reading *reading, const char *text, size_t indent)
{
    const char *p = text;
    size_t n, depth = indent / 2;
    if (take_word(&p, "✔ ") || take_word(&p, "✓ "))
        result(self, reading, depth, TEST_CASE_PASSED, p);
    else if (take_word(&p, "- "))
        result(self, reading, depth, TEST_CASE_SKIPPED, p);
    else if (take_number(&p, &n) && take_word(&p, ") "))
        result(self, reading, depth, TEST_CASE_FAILED, p);
    else
        titles_set(&self->titles, depth, text, strlen(text));
}

/* "5 passing (5ms)" and the like */
static bool count(struct mocha *self, const char *p)
{
    size_t n;
    if (!take_number(&p, &n))
        return false;
    if (take_word(&p, " passing ("))
        self->said.passed = n;
    else if (!strcmp(p, " pending"))
        self->said.skipped = n;
    else if (!strcmp(p, " failing"))
        self->said.failed = n;
    else
        return false;
    return true;
}

static void line(void *state, struct reading *reading, const char *text)
{
    struct mocha *self = state;
    size_t indent = strspn(text, " ");
    const char *p = text + indent;
    if (!*p || indent < 2 || indent % 2)
        return;
    if (indent == 2 && self->state != OVER && count(self, p)) {
        self->state = COUNTING;
        return;
    }
    if (self->state == COUNTING)
        self->state = OVER;    /* what went wrong follows */
    if (self->state == OVER) { /* another run cannot be told from it */
        reading->broken |= indent == 2 && strstr(p, " passing (") && count(self, p);
        return;
    }
    running(self, reading, p, indent);
}

static void end(void *state, struct reading *reading)
{
    struct mocha *self = state;
    if (self->state == RUNNING)
        return;
    reading->seen = true;
    tally_check(&self->tally, &self->said, reading);
}

const struct reader reader_mocha = {sizeof(struct mocha), line, end, NULL};
