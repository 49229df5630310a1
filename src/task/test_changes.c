#include <stdlib.h>
#include <string.h>

#include "task/test_list.h"

static const char *const kinds[TEST_CHANGE_COUNT] = {
    [TEST_NEWLY_BROKEN] = "newly_broken",   [TEST_NEWLY_FIXED] = "newly_fixed",
    [TEST_STILL_BROKEN] = "still_broken",   [TEST_FLAKY] = "flaky",
    [TEST_ADDED] = "tests_added",           [TEST_REMOVED] = "tests_removed",
    [TEST_NEWLY_SKIPPED] = "newly_skipped",
};

const char *test_change_name(enum test_change change)
{
    return kinds[change];
}

enum test_change test_change_parse(const char *name)
{
    enum test_change change = 0;
    while (change < TEST_CHANGE_COUNT && (!name || strcmp(kinds[change], name) != 0))
        change++;
    return change;
}

void test_change_names_add(struct test_change_names *names, const char *name)
{
    names->total++;
    size_t had = names->names ? strlen(names->names) : 0, len = strlen(name);
    if (names->shown == TEST_CHANGE_NAMES_MAX || had + len + 1 > TEST_CHANGE_BYTES_MAX)
        return;
    names->names = realloc(names->names, had + len + 2);
    if (!names->names)
        abort();
    memcpy(names->names + had, name, len);
    strcpy(names->names + had + len, "\n");
    names->shown++;
}

bool test_change_names_next(const struct test_change_names *names, const char **at,
                            const char **name, size_t *len)
{
    const char *from = *at ? *at : names->names;
    const char *newline = from ? strchr(from, '\n') : NULL;
    if (!newline)
        return false;
    *name = from;
    *len = (size_t)(newline - from);
    *at = newline + 1;
    return true;
}

static void note(struct test_changes *changes, enum test_change change, const char *name)
{
    test_change_names_add(&changes->of[change], name);
}

/* WAS is NULL for a test that was not there before. */
static void compare(const struct test_case *was, const struct test_case *is,
                    struct test_changes *changes)
{
    bool failed = was && was->status == TEST_CASE_FAILED;
    if (!was)
        note(changes, TEST_ADDED, is->name);
    if (is->status == TEST_CASE_FAILED)
        note(changes, failed ? TEST_STILL_BROKEN : TEST_NEWLY_BROKEN, is->name);
    else if (is->status == TEST_CASE_FLAKY)
        note(changes, TEST_FLAKY, is->name);
    else if (is->status == TEST_CASE_PASSED && failed)
        note(changes, TEST_NEWLY_FIXED, is->name);
    else if (is->status == TEST_CASE_SKIPPED && was && was->status != TEST_CASE_SKIPPED)
        note(changes, TEST_NEWLY_SKIPPED, is->name);
}

void test_changes_find(const struct test_list *before, const struct test_list *after,
                       struct test_changes *changes)
{
    *changes = (struct test_changes){.compared = !before->cut && !before->full && !after->full};
    size_t b = 0, a = 0;
    while (changes->compared && (b < before->count || a < after->count)) {
        int order = b == before->count  ? 1
                    : a == after->count ? -1
                                        : strcmp(before->cases[b].name, after->cases[a].name);
        if (order < 0) {
            if (!after->cut)
                note(changes, TEST_REMOVED, before->cases[b].name);
            b++;
            continue;
        }
        compare(order == 0 ? &before->cases[b] : NULL, &after->cases[a], changes);
        b += order == 0;
        a++;
    }
}

void test_changes_release(struct test_changes *changes)
{
    for (size_t i = 0; i < TEST_CHANGE_COUNT; i++)
        free(changes->of[i].names);
    *changes = (struct test_changes){0};
}

bool test_changes_explain_failure(const struct test_changes *changes, const struct test_list *after)
{
    return changes->compared && !after->cut && changes->of[TEST_NEWLY_BROKEN].total == 0 &&
           changes->of[TEST_STILL_BROKEN].total > 0;
}
