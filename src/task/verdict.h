/*
 * What the tests say about a task's work: the baseline (before the agent) beside the verification
 * (the commit, in a new sandbox), test by test where their results could be read. Where they could
 * not, a baseline that failed proves nothing about a verification that fails, too.
 */
#ifndef CODEX_TASK_VERDICT_H
#define CODEX_TASK_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "task/test_list.h"

/* One run of the tests. Strings are owned; see test_result_release(). */
struct test_result {
    bool known;        /* false: the tests did not run; nothing else holds then */
    int status;        /* enum test_exit, or anything: the step itself broke */
    char *command;     /* NULL: none was found */
    char *found;       /* what made it the command: "package.json" …; NULL */
    int64_t exit_code; /* -1: none (a signal, a timeout, no command) */
    int64_t duration_ms;
    char *output_tail;               /* NULL or its last bytes, UTF-8 */
    int64_t passed, failed, skipped; /* -1: not known */
    char *tests; /* the list of single tests, as task/test_list.h writes it; NULL: not known, or not
                    asked for */
};

void test_result_release(struct test_result *result);

/* Is it evidence of anything, be it that there are no tests? A step that was cancelled or broke is
 * not. */
bool test_result_says(const struct test_result *result);

enum verdict {
    VERDICT_UNSET, /* there is none before the work is delivered */
    VERDICT_PASSED,
    VERDICT_FAILED,
    VERDICT_UNPROVEN,
    VERDICT_NO_TESTS,
    VERDICT_NONE, /* verification did not run */
    VERDICT_COUNT,
};

/* "passed" …; NULL for VERDICT_UNSET. */
const char *verdict_name(enum verdict verdict);
enum verdict verdict_parse(const char *name); /* VERDICT_UNSET for NULL and what is none */

enum verdict verdict_of(const struct test_result *baseline, const struct test_result *verification);

/* A pull request that the verdict does not carry is a draft, and one whose tests have become fewer:
 * some are gone, or are skipped now. */
bool verdict_is_draft(enum verdict verdict, const struct test_changes *changes);

/* The status of a verification that failed with STATUS, by what the comparison with the baseline
 * says: TEST_FAILED, TEST_FAILED_AS_BEFORE or TEST_NEWLY_FAILED. AFTER: its tests. */
int verdict_test_status(int status, const struct test_changes *changes,
                        const struct test_list *after);

#endif
