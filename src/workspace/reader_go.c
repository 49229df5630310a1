/*
 * go test with -v, and with -json (cmd/go, cmd/test2json):
 *
 *     === RUN   TestX
 *     --- PASS: TestX (0.00s)
 *         --- FAIL: TestX/part (0.00s)
 *     ok  	example.org/pkg	0.003s
 *     FAIL	example.org/other [build failed]
 *     {"Action":"pass","Package":"example.org/pkg","Test":"TestX","Elapsed":0}
 *
 * A package is named behind its tests, so they wait for it.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "workspace/reader.h"

enum { WAITING_MAX = 10000 };

struct waiting {
    char *name;
    enum { UNRESOLVED, RESOLVED } state;
    enum test_status status;
};

struct go {
    struct waiting *tests; /* of the package that runs */
    size_t count, cap;
    bool active, panicked;
};

static void forget(struct go *self)
{
    for (size_t i = 0; i < self->count; i++)
        free(self->tests[i].name);
    free(self->tests);
    *self = (struct go){0};
}

static struct waiting *find(struct go *self, const char *name, size_t len)
{
    for (size_t i = self->count; i-- > 0;)
        if (!strncmp(self->tests[i].name, name, len) && !self->tests[i].name[len])
            return &self->tests[i];
    return NULL;
}

static void run(struct go *self, struct reading *reading, const char *name)
{
    self->active = true;
    if (self->count == WAITING_MAX) {
        reading->broken = true;
        return;
    }
    if (self->count == self->cap) {
        self->cap = self->cap ? self->cap * 2 : 64;
        self->tests = realloc(self->tests, self->cap * sizeof *self->tests);
        if (!self->tests)
            abort();
    }
    self->tests[self->count++] = (struct waiting){.name = str_dup(name)};
}

static bool read_outcome(const char **p, enum test_status *status)
{
    *status = TEST_CASE_PASSED;
    if (take_word(p, "PASS: "))
        return true;
    *status = TEST_CASE_FAILED;
    if (take_word(p, "FAIL: "))
        return true;
    *status = TEST_CASE_SKIPPED;
    return take_word(p, "SKIP: ");
}

/* Also behind what a test has printed without an end of line. */
static void outcome(struct go *self, const char *text)
{
    for (const char *at = text; (at = strstr(at, "--- ")); at += 4) {
        const char *p = at + 4;
        enum test_status status;
        if (!read_outcome(&p, &status))
            continue;
        size_t len = strlen(p);
        struct waiting *test = drop_duration(p, &len) ? find(self, p, len) : NULL;
        if (test && test->state == UNRESOLVED) {
            test->state = RESOLVED;
            test->status = status;
            return;
        }
    }
}

/* The tests that waited belong to PACKAGE. */
static void package_ended(struct go *self, struct reading *reading, const char *package, size_t len,
                          bool passed)
{
    bool any = false;
    for (size_t i = 0; i < self->count; i++) {
        const struct waiting *test = &self->tests[i];
        bool died = test->state == UNRESOLVED;
        reading->broken |= died && passed;
        reading->list.cut |= died;
        enum test_status status = died ? TEST_CASE_FAILED : test->status;
        any |= status == TEST_CASE_FAILED;
        reading_addf(reading, status, "%.*s.%s", (int)len, package, test->name);
    }
    if (!passed && !any) /* it does not build, or died before its first test */
        reading_add(reading, TEST_CASE_FAILED, package, len);
    reading->list.cut |= !passed && (!any || self->panicked);
    reading->seen = true;
    forget(self);
}

/* "ok  \tpkg\t0.003s", "FAIL\tpkg [build failed]", "?   \tpkg\t[no test files]" */
static bool package_line(struct go *self, struct reading *reading, const char *text)
{
    const char *p = text;
    bool passed = take_word(&p, "ok  \t");
    if (!passed && !take_word(&p, "FAIL\t"))
        return false;
    size_t len = strcspn(p, "\t ");
    const char *rest = p + len;
    if (!*rest || !len)
        return false;
    if (passed && !self->count && !strstr(rest, "[no tests to run]"))
        reading->broken = true; /* it ran without -v */
    package_ended(self, reading, p, len, passed);
    return true;
}

static const char *text_of(const json_t *event, const char *name)
{
    return json_string_value(json_object_get(event, name));
}

static void json_event(struct reading *reading, const json_t *event)
{
    static const struct {
        const char *action;
        enum test_status status;
    } ends[] = {
        {"pass", TEST_CASE_PASSED}, {"fail", TEST_CASE_FAILED}, {"skip", TEST_CASE_SKIPPED}};
    const char *action = text_of(event, "Action"), *package = text_of(event, "Package"),
               *test = text_of(event, "Test");
    const char *output = text_of(event, "Output");
    if (!action || !package)
        return;
    if (output && !strncmp(output, "panic: ", 7))
        reading->list.cut = true; /* the tests behind it did not run */
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        if (strcmp(action, ends[i].action) != 0)
            continue;
        reading->seen = true;
        if (test)
            reading_addf(reading, ends[i].status, "%s.%s", package, test);
        else if (ends[i].status == TEST_CASE_FAILED) /* by its tests, or it does not build */
            reading_add(reading, TEST_CASE_FAILED, package, strlen(package));
    }
}

static bool json_line(struct reading *reading, const char *text)
{
    if (text[0] != '{' || !strstr(text, "\"Action\":\""))
        return false;
    json_t *event = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (event)
        json_event(reading, event);
    json_decref(event);
    return event != NULL;
}

static void line(void *state, struct reading *reading, const char *text)
{
    struct go *self = state;
    const char *p = text;
    if (json_line(reading, text))
        return;
    if (take_word(&p, "=== RUN   "))
        run(self, reading, p);
    else if (package_line(self, reading, text))
        return;
    else if (self->active && !strncmp(text, "panic: ", 7))
        self->panicked = true;
    else if (self->active)
        outcome(self, text);
}

static void end(void *state, struct reading *reading)
{
    struct go *self = state;
    if (self->active)
        reading->seen = reading->broken = true;
    forget(self);
}

static bool owns(const void *state)
{
    return ((const struct go *)state)->active;
}

const struct reader reader_go = {sizeof(struct go), line, end, owns};
