/*
 * meson test:
 *
 *     1/3 demo:unit / adds OK              0.05s
 *     2/3 demo / fails     FAIL            0.05s   exit status 1
 *     3/3 demo / slow      TIMEOUT         1.04s   killed by signal 15 SIGTERM
 *     Ok:                 1
 *     …
 *     Timeout:            1
 *
 * What a test has printed stands between two rules ("――― ✀ ―――").
 */
#include <string.h>

#include "workspace/reader.h"

struct meson {
    bool active, quoting;
    bool repeating; /* "Summary of Failures:" */
    struct tally tally, said;
};

static const struct {
    const char *word;
    enum test_status status;
} outcomes[] = {
    {"OK", TEST_CASE_PASSED},        {"FAIL", TEST_CASE_FAILED},
    {"SKIP", TEST_CASE_SKIPPED},     {"ERROR", TEST_CASE_FAILED},
    {"TIMEOUT", TEST_CASE_FAILED},   {"EXPECTEDFAIL", TEST_CASE_SKIPPED},
    {"INTERRUPT", TEST_CASE_FAILED}, {"UNEXPECTEDPASS", TEST_CASE_FAILED},
};

/* "OK              0.05s": the outcome and the time it took; TEXT is behind the name. */
static bool read_outcome(const char *text, enum test_status *status)
{
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        const char *p = text;
        size_t n;
        if (!take_word(&p, outcomes[i].word) || !take_space(&p) || !take_number(&p, &n) ||
            !take_word(&p, ".") || !take_number(&p, &n) || !take_word(&p, "s"))
            continue;
        *status = outcomes[i].status;
        return true;
    }
    return false;
}

static bool result(struct meson *self, struct reading *reading, const char *text)
{
    const char *p = text;
    size_t n;
    enum test_status status;
    take_space(&p);
    if (!take_number(&p, &n) || !take_word(&p, "/") || !take_number(&p, &n) || !take_space(&p))
        return false;
    for (const char *space = p; (space = strchr(space, ' ')); space++) {
        const char *word = space + 1;
        if (!read_outcome(word, &status))
            continue;
        self->active = true;
        if (self->repeating)
            return true;
        tally_add(&self->tally, status);
        reading_add(reading, status, p, (size_t)(space - p));
        return true;
    }
    return false;
}

/* A line of the counts at the end. Returns whether it is the last one. */
static bool count(struct meson *self, const char *text)
{
    static const struct {
        const char *label;
        enum test_status status;
    } labels[] = {
        {"Ok:", TEST_CASE_PASSED},       {"Expected Fail:", TEST_CASE_SKIPPED},
        {"Fail:", TEST_CASE_FAILED},     {"Unexpected Pass:", TEST_CASE_FAILED},
        {"Skipped:", TEST_CASE_SKIPPED}, {"Timeout:", TEST_CASE_FAILED},
    };
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
        const char *p = text;
        size_t n;
        if (!take_word(&p, labels[i].label) || !take_space(&p) || !take_number(&p, &n) || *p)
            continue;
        self->said.passed += labels[i].status == TEST_CASE_PASSED ? n : 0;
        self->said.failed += labels[i].status == TEST_CASE_FAILED ? n : 0;
        self->said.skipped += labels[i].status == TEST_CASE_SKIPPED ? n : 0;
        return labels[i].label[0] == 'T';
    }
    return false;
}

static void line(void *state, struct reading *reading, const char *text)
{
    struct meson *self = state;
    if (!strncmp(text, "――――", 12)) {
        self->quoting = strstr(text, "✀") != NULL;
        return;
    }
    if (self->quoting || result(self, reading, text) || !self->active)
        return;
    if (!strcmp(text, "Summary of Failures:"))
        self->repeating = true;
    if (count(self, text)) {
        reading->seen = true;
        tally_check(&self->tally, &self->said, reading);
        *self = (struct meson){0};
    }
}

static void end(void *state, struct reading *reading)
{
    const struct meson *self = state;
    if (self->active)
        reading->seen = reading->broken = true;
}

static bool owns(const void *state)
{
    return ((const struct meson *)state)->active;
}

const struct reader reader_meson = {sizeof(struct meson), line, end, owns};
