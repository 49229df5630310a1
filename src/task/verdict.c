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
    return result->known && (result->status == TEST_PASSED || result->status == TEST_FAILED ||
                             result->status == TEST_NOT_FOUND || result->status == TEST_TIMED_OUT);
}

enum verdict verdict_of(const struct test_result *baseline, const struct test_result *verification)
{
    if (!verification->known)
        return VERDICT_NONE;
    bool failed_before =
        baseline->known && (baseline->status == TEST_FAILED || baseline->status == TEST_TIMED_OUT);
    switch (verification->status) {
    case TEST_PASSED:
        return VERDICT_PASSED;
    case TEST_NOT_FOUND:
        return VERDICT_NO_TESTS;
    case TEST_FAILED:
    case TEST_TIMED_OUT:
        return failed_before ? VERDICT_UNPROVEN : VERDICT_FAILED;
    default: /* the step broke before it could say anything */
        return VERDICT_NONE;
    }
}

bool verdict_is_draft(enum verdict verdict)
{
    return verdict != VERDICT_PASSED;
}
