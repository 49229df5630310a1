/*
 * vitest's "verbose" reporter:
 *
 *      ✓ test/a.test.js > math > adds 2ms
 *      × test/a.test.js > math > fails 47ms
 *      ↓ test/a.test.js > math > skips
 *           Tests  1 failed | 1 passed | 1 skipped (3)
 */
#include <string.h>

#include "workspace/reader.h"

struct vitest {
    struct tally tally;
};

static void result(struct vitest *self, struct reading *reading, const char *text)
{
    static const struct {
        const char *mark;
        enum test_status status;
    } kinds[] = {
        {" ✓ ", TEST_CASE_PASSED},  {" × ", TEST_CASE_FAILED},  {" ❯ ", TEST_CASE_FAILED},
        {" ↓ ", TEST_CASE_SKIPPED}, {" □ ", TEST_CASE_SKIPPED},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const char *p = text;
        if (!take_word(&p, kinds[i].mark) || !strstr(p, " > "))
            continue;
        size_t len = strlen(p);
        drop_duration(p, &len);
        tally_add(&self->tally, kinds[i].status);
        reading_add(reading, kinds[i].status, p, len);
        return;
    }
}

/* "1 failed | 4 passed | 1 skipped | 1 todo (7)" */
static void summary(struct vitest *self, struct reading *reading, const char *p)
{
    struct tally said = {0};
    size_t n;
    while (take_number(&p, &n)) {
        if (take_word(&p, " failed"))
            said.failed += n;
        else if (take_word(&p, " passed"))
            said.passed += n;
        else if (take_word(&p, " skipped") || take_word(&p, " todo"))
            said.skipped += n;
        else
            break;
        take_word(&p, " | ");
    }
    reading->seen = true;
    tally_check(&self->tally, &said, reading);
}

static void line(void *state, struct reading *reading, const char *text)
{
    struct vitest *self = state;
    const char *p = text;
    if (take_space(&p) >= 6 && take_word(&p, "Tests  ")) {
        summary(self, reading, p);
        return;
    }
    p = text;
    if (take_word(&p, " FAIL  ") && !strstr(p, " > ")) { /* a file that could not be loaded */
        reading_add(reading, TEST_CASE_FAILED, p, strcspn(p, " "));
        reading->list.cut = true;
        return;
    }
    result(self, reading, text);
}

static void end(void *state, struct reading *reading)
{
}

const struct reader reader_vitest = {sizeof(struct vitest), line, end, NULL};
