/*
 * jest with --verbose (its default for a single file):
 *
 *     FAIL test/a.test.js
 *       math
 *         ✓ adds (2 ms)
 *         ✕ fails (3 ms)
 *         ○ skipped skips
 *         ✎ todo later
 *     Tests:       1 failed, 1 skipped, 1 todo, 1 passed, 4 total
 */
#include <stdio.h>
#include <string.h>

#include "workspace/reader.h"

enum { FILE_MAX = 1024 };

struct jest {
    struct titles titles; /* the first one is the file */
    char file[FILE_MAX];
    bool in_tree;
    struct tally tally;
};

static bool take_file(struct jest *self, const char *text)
{
    const char *p = text;
    if (!take_word(&p, "PASS ") && !take_word(&p, "FAIL "))
        return false;
    take_space(&p);
    size_t len = strlen(p);
    drop_duration(p, &len);
    snprintf(self->file, FILE_MAX, "%.*s", (int)(len < FILE_MAX ? len : FILE_MAX - 1), p);
    titles_set(&self->titles, 0, self->file, strlen(self->file));
    self->in_tree = true;
    return true;
}

static void tree_line(struct jest *self, struct reading *reading, const char *text)
{
    static const struct {
        const char *mark, *word;
        enum test_status status;
    } kinds[] = {
        {"✓ ", "", TEST_CASE_PASSED},
        {"✕ ", "", TEST_CASE_FAILED},
        {"○ ", "skipped ", TEST_CASE_SKIPPED},
        {"✎ ", "todo ", TEST_CASE_SKIPPED},
    };
    size_t indent = strspn(text, " "), depth = indent / 2;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const char *p = text + indent;
        if (!take_word(&p, kinds[i].mark) || !take_word(&p, kinds[i].word))
            continue;
        size_t len = strlen(p);
        drop_duration(p, &len);
        tally_add(&self->tally, kinds[i].status);
        titles_add(&self->titles, depth, reading, kinds[i].status, p, len);
        return;
    }
    titles_set(&self->titles, depth, text + indent, strlen(text + indent));
}

/* "1 failed, 1 skipped, 1 todo, 5 passed, 8 total" */
static void summary(struct jest *self, struct reading *reading, const char *p)
{
    struct tally said = {0};
    size_t n;
    while (take_number(&p, &n)) {
        if (take_word(&p, " failed"))
            said.failed += n;
        else if (take_word(&p, " skipped") || take_word(&p, " todo"))
            said.skipped += n;
        else if (take_word(&p, " passed"))
            said.passed += n;
        else
            break;
        take_word(&p, ", ");
    }
    reading->seen = true;
    tally_check(&self->tally, &said, reading);
}

static void line(void *state, struct reading *reading, const char *text)
{
    struct jest *self = state;
    const char *p = text;
    if (take_file(self, text))
        return;
    if (take_word(&p, "Tests:  ")) {
        take_space(&p);
        summary(self, reading, p);
    } else if (!strcmp(text, "  ● Test suite failed to run") && self->file[0]) {
        reading_add(reading, TEST_CASE_FAILED, self->file, strlen(self->file));
        reading->list.cut = true;
    } else if (strncmp(text, "  ", 2) != 0 || !strncmp(text, "  ● ", 6)) {
        self->in_tree = false;
    } else if (self->in_tree) {
        tree_line(self, reading, text);
    }
}

static void end(void *state, struct reading *reading)
{
}

const struct reader reader_jest = {sizeof(struct jest), line, end, NULL};
