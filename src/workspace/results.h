/*
 * What became of each test, read from what a test run prints and from the JUnit XML files that it
 * leaves. All of it is written by code of the task's: hostile bytes of any size. They are read in
 * the sandbox, line by line and within bounds, and only ever become a struct test_list.
 *
 * Each kind of test runner has a reader, which goes by the runner's ordinary output. A reader checks
 * itself: what it saw of single tests must agree with the runner's own summary, else the results
 * count as unreadable. Nothing is better than half of it: a test that was overlooked would be taken
 * for a test that was removed.
 */
#ifndef CODEX_WORKSPACE_RESULTS_H
#define CODEX_WORKSPACE_RESULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "task/test_list.h"

enum { RESULTS_LINE_MAX = 16384 }; /* the rest of a longer line is not looked at */

struct results;

struct results *results_new(void);
void results_free(struct results *results);

/* More of the output. */
void results_feed(struct results *results, const char *bytes, size_t len);

/* The output has ended. What JUnit XML files below DIR say that were written SINCE then is used
 * when the output named no test. LIST is filled and sorted; false, and LIST is empty, when no test
 * was named or what was named is contradictory. */
bool results_end(struct results *results, const char *dir, const struct timespec *since,
                 struct test_list *list);

#endif
