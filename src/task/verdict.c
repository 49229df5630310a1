#include "task/verdict.h"

#include <stdlib.h>
#include <string.h>

#include "task/exit.h"

static const char *const names[VERDICT_COUNT] = {
    [VERDICT_PASSED] = "passed",     [VERDICT_FAILED] = "failed", [VERDICT_UNPROVEN] = "unproven",
    [VERDICT_NO_TESTS] = "no_tests", [VERDICT_NONE] = "none",
};

void test_result_release(struct test_result *result)
{
    free(result->command);
    free(result->found);
    free(result->output_tail);
    free(result->tests);
    *result = (struct test_result){0};
}

const char *verdict_name(enum verdict verdict)
{
    return (unsigned)verdict < VERDICT_COUNT ? names[verdict] : NULL;
}

enum verdict verdict_parse(const char *name)
{
    for (enum verdict v = VERDICT_UNSET + 1; name && v < VERDICT_COUNT; v++)
        if (!strcmp(names[v], name))
            return v;
    return VERDICT_UNSET;
}

bool test_result_says(const struct test_result *result)
{
    static const int evidence[] = {TEST_PASSED,    TEST_FAILED,           TEST_NOT_FOUND,
                                   TEST_TIMED_OUT, TEST_FAILED_AS_BEFORE, TEST_NEWLY_FAILED};
    for (size_t i = 0; i < sizeof evidence / sizeof evidence[0]; i++)
        if (result->known && result->status == evidence[i])
            return true;
    return false;
}

enum verdict verdict_of(const struct test_result *baseline, const struct test_result *verification)
{
    if (!verification->known)
        return VERDICT_NONE;
    bool failed_before =
        baseline->known && (baseline->status == TEST_FAILED || baseline->status == TEST_TIMED_OUT);
    switch (verification->status) {
    case TEST_PASSED:
    case TEST_FAILED_AS_BEFORE:
        return VERDICT_PASSED;
    case TEST_NEWLY_FAILED:
        return VERDICT_FAILED;
    case TEST_NOT_FOUND:
        return VERDICT_NO_TESTS;
    case TEST_FAILED:
    case TEST_TIMED_OUT:
        return failed_before ? VERDICT_UNPROVEN : VERDICT_FAILED;
    default: /* the step broke before it could say anything */
        return VERDICT_NONE;
    }
}

bool verdict_is_draft(enum verdict verdict, const struct test_changes *changes)
{
    return verdict != VERDICT_PASSED || changes->of[TEST_REMOVED].total > 0 ||
           changes->of[TEST_NEWLY_SKIPPED].total > 0;
}

int verdict_test_status(int status, const struct test_changes *changes,
                        const struct test_list *after)
{
    if (status != TEST_FAILED && status != TEST_FAILED_AS_BEFORE && status != TEST_NEWLY_FAILED)
        return status;
    if (test_changes_explain_failure(changes, after))
        return TEST_FAILED_AS_BEFORE;
    return changes->of[TEST_NEWLY_BROKEN].total ? TEST_NEWLY_FAILED : TEST_FAILED;
}
