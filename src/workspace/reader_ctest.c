/*
 * ctest:
 *
 *     Test project /path/to/build
 *     1/2 Test #1: adds .................   Passed    0.01 sec
 *     2/2 Test #2: fails ................***Failed    0.02 sec
 *     50% tests passed, 1 tests failed out of 2
 *     Total Test time (real) =   0.03 sec
 */
#include <string.h>

#include "workspace/reader.h"

struct ctest {
    bool active;
    size_t ran, failed; /* without those that are skipped or disabled */
};

static bool read_outcome(const char *p, enum test_status *status)
{
    *status = TEST_CASE_PASSED;
    if (!strncmp(p, "   Passed", 9))
        return true;
    *status = TEST_CASE_SKIPPED;
    if (!strncmp(p, "***Skipped", 10) || !strncmp(p, "***Not Run (Disabled)", 21))
        return true;
    *status = TEST_CASE_FAILED;
    return !strncmp(p, "***", 3);
}

/* "1/2 Test #1: adds ....   Passed    0.01 sec" */
static bool result(struct ctest *self, struct reading *reading, const char *text)
{
    const char *p = text;
    size_t n, len;
    enum test_status status;
    take_space(&p);
    if (!take_number(&p, &n) || !take_word(&p, "/") || !take_number(&p, &n) ||
        !take_word(&p, " Test ") || (take_space(&p), !take_word(&p, "#")) || !take_number(&p, &n) ||
        !take_word(&p, ": "))
        return false;
    const char *outcome = strstr(p, "***");
    if (!outcome)
        outcome = strstr(p, "   Passed");
    if (!outcome || !read_outcome(outcome, &status))
        return false;
    len = (size_t)(outcome - p);
    while (len && p[len - 1] == '.')
        len--;
    reading_add(reading, status, p, len);
    self->ran += status != TEST_CASE_SKIPPED;
    self->failed += status == TEST_CASE_FAILED;
    return true;
}

/* "50% tests passed, 1 tests failed out of 2": skipped ones are among the passed of newer ctests */
static void summary(struct ctest *self, struct reading *reading, const char *p)
{
    size_t failed, total;
    bool read = take_number(&p, &failed) && take_word(&p, " tests failed out of ") &&
                take_number(&p, &total);
    reading->seen = true;
    reading->broken |= !read || failed != self->failed || total < self->ran;
}

static void line(void *state, struct reading *reading, const char *text)
{
    struct ctest *self = state;
    const char *p = text;
    size_t n;
    if (take_word(&p, "Test project ")) {
        reading->broken |= self->active;
        *self = (struct ctest){.active = true};
    } else if (!self->active) {
        return;
    } else if (take_number(&p, &n) && take_word(&p, "% tests passed, ")) {
        summary(self, reading, p);
    } else if (!strncmp(text, "Total Test time (real) =", 24) ||
               !strncmp(text, "No tests were found", 19)) {
        self->active = false;
    } else {
        result(self, reading, text);
    }
}

static void end(void *state, struct reading *reading)
{
    const struct ctest *self = state;
    if (self->active)
        reading->seen = reading->broken = true;
}

static bool owns(const void *state)
{
    return ((const struct ctest *)state)->active;
}

const struct reader reader_ctest = {sizeof(struct ctest), line, end, owns};
