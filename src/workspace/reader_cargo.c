/*
 * cargo test, and Rust's test programs, doc.rust-lang.org/rustc/tests:
 *
 *          Running unittests src/lib.rs (target/debug/deps/demo-bc2148da842c45e1)
 *     running 2 tests
 *     test tests::adds ... ok
 *     test tests::slow ... ignored, why
 *     test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; …
 *        Doc-tests demo
 */
#include <stdio.h>
#include <string.h>

#include "workspace/reader.h"

enum { TARGET_MAX = 1024 };

struct cargo {
    char target[TARGET_MAX];
    bool running; /* behind "running N tests" */
    bool listing; /* and before what went wrong */
    bool failed, all_ran;
    struct tally tally;
};

/* "unittests src/lib.rs (target/debug/deps/demo-bc21…)": the crate and the file */
static void running(struct cargo *self, const char *p)
{
    take_word(&p, "unittests ");
    size_t file = strcspn(p, " ");
    const char *crate = strrchr(p, '/');
    crate = crate ? crate + 1 : p + file;
    const char *hash = strrchr(crate, '-');
    size_t len = hash ? (size_t)(hash - crate) : strcspn(crate, ")");
    snprintf(self->target, TARGET_MAX, "%.*s %.*s ", (int)(len < 400 ? len : 400), crate,
             (int)(file < 400 ? file : 400), p);
}

/* What is said about a test besides its name. */
static void drop_notes(const char *name, size_t *len)
{
    static const char *const notes[] = {" - should panic", " - compile fail", " - compile"};
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++)
        drop_end(name, len, notes[i]);
    size_t n = *len; /* the line of a test in documentation moves with every edit */
    if (!drop_end(name, &n, ")"))
        return;
    while (n && strchr("0123456789", name[n - 1]))
        n--;
    if (drop_end(name, &n, " (line "))
        *len = n;
}

static void test_line(struct cargo *self, struct reading *reading, const char *p)
{
    const char *dots = NULL;
    for (const char *at = p; (at = strstr(at, " ... ")); at++)
        dots = at;
    if (!dots)
        return;
    const char *said = dots + 5;
    enum test_status status = TEST_CASE_PASSED;
    if (!strncmp(said, "ignored", 7))
        status = TEST_CASE_SKIPPED;
    else if (!strncmp(said, "FAILED", 6))
        status = TEST_CASE_FAILED;
    else if (strcmp(said, "ok") != 0)
        return;
    size_t len = (size_t)(dots - p);
    drop_notes(p, &len);
    tally_add(&self->tally, status);
    reading_addf(reading, status, "%s%.*s", self->target, (int)len, p);
}

/* "ok. 2 passed; 1 failed; 1 ignored; …" */
static void result_line(struct cargo *self, struct reading *reading, const char *p)
{
    struct tally said;
    self->failed |= take_word(&p, "FAILED. ");
    take_word(&p, "ok. ");
    bool read = take_number(&p, &said.passed) && take_word(&p, " passed; ") &&
                take_number(&p, &said.failed) && take_word(&p, " failed; ") &&
                take_number(&p, &said.skipped) && take_word(&p, " ignored;");
    reading->seen = true;
    reading->broken |= !read;
    if (read)
        tally_check(&self->tally, &said, reading);
    self->running = self->listing = false;
}

static void line(void *state, struct reading *reading, const char *text)
{
    struct cargo *self = state;
    const char *p = text;
    size_t n;
    if (take_word(&p, "     Running ")) {
        reading->broken |= self->running; /* a test program that has died says no result */
        running(self, p);
    } else if (take_word(&p, "   Doc-tests ")) {
        snprintf(self->target, TARGET_MAX, "%.400s doc ", p);
    } else if (take_word(&p, "running ") && take_number(&p, &n) && take_word(&p, " test") &&
               strlen(p) <= 1) {
        reading->broken |= self->listing;
        self->running = self->listing = true;
    } else if (take_word(&p, "test result: ") && self->running) {
        result_line(self, reading, p);
    } else if (!strcmp(text, "failures:") || !strcmp(text, "successes:")) {
        self->listing = false;
    } else if (take_word(&p, "test ") && self->listing) {
        test_line(self, reading, p);
    } else if (!strncmp(text, "error: could not compile", 24)) {
        reading_addf(reading, TEST_CASE_FAILED, "cargo build");
        reading->seen = reading->list.cut = true;
    } else if (take_word(&p, "error: ") && take_number(&p, &n) &&
               (!strcmp(p, " target failed:") || !strcmp(p, " targets failed:"))) {
        self->all_ran = true;
    }
}

static void end(void *state, struct reading *reading)
{
    const struct cargo *self = state;
    if (self->running) {
        reading->seen = reading->broken = true;
    }
    /* Without --no-fail-fast the first failure is the last test program. */
    if (self->failed && !self->all_ran)
        reading->list.cut = true;
}

static bool owns(const void *state)
{
    return ((const struct cargo *)state)->running;
}

const struct reader reader_cargo = {sizeof(struct cargo), line, end, owns};
