/*
 * What became of each test in one run of the tests, and what has changed between two of them.
 *
 * A list is made inside a sandbox by `codex-agent test`, out of what its tests print, and crosses
 * to the host as bytes: see test_list_parse() for their form, which is checked strictly. Names are
 * valid UTF-8 without control characters, of 1 to TEST_NAME_MAX bytes.
 */
#ifndef CODEX_TASK_TEST_LIST_H
#define CODEX_TASK_TEST_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    TEST_NAME_MAX = 512,
    TEST_LIST_MAX = 20000,           /* tests */
    TEST_LIST_BYTES_MAX = 4 << 20,   /* of the written form */
    TEST_CHANGE_NAMES_MAX = 100,     /* names kept of one kind of change */
    TEST_CHANGE_BYTES_MAX = 8 << 10, /* and their bytes */
};

/* In the order of precedence: of two results of one name, the later one counts. */
enum test_status {
    TEST_CASE_PASSED,
    TEST_CASE_SKIPPED, /* also: expected to fail, to be done */
    TEST_CASE_FAILED,
    TEST_CASE_FLAKY, /* failed, and passed when the commit was tested once more */
    TEST_CASE_COUNT,
};

struct test_case {
    char *name;
    enum test_status status;
};

struct test_list {
    struct test_case *cases; /* sorted by name once test_list_sort() was called */
    size_t count, cap;
    size_t bytes; /* of the written form */
    bool cut;     /* the run ended early: a test that is not in the list may exist */
    bool full;    /* there were more than fit: of no use but for its counts */
    size_t totals[TEST_CASE_COUNT];
};

void test_list_init(struct test_list *list);
void test_list_release(struct test_list *list);

/* Add a result, its name made fit: malformed UTF-8 and control characters replaced, white space at
 * its ends taken away, its end hashed when it is too long. An empty name is passed over. */
void test_list_add(struct test_list *list, enum test_status status, const char *name, size_t len);

/* By name, each once, and counted. */
void test_list_sort(struct test_list *list);

/* The result of NAME in a sorted list; NULL: there is none. */
const struct test_case *test_list_find(const struct test_list *list, const char *name);

/* LIST becomes a second run on the same commit, AGAIN; but a test that failed only the first time,
 * and passed in BEFORE, is flaky. All are sorted. */
void test_list_merge_again(struct test_list *list, const struct test_list *again,
                           const struct test_list *before);

/*
 * As bytes: a line "codex-tests 1 whole" (or "cut"), a line "<status> <name>" for each test,
 * sorted, and a line "end <count>".
 */
void test_list_write(const struct test_list *list, struct buf *out);

/* Read that form: bounded, sorted, no name twice, nothing behind the end; ERR_PROTOCOL for anything
 * else, and LIST is empty then. Release it in either case. */
int test_list_parse(const char *bytes, size_t len, struct test_list *list, struct err *err);

const char *test_status_name(enum test_status status); /* "passed" … */

/* What two runs differ in. */
enum test_change {
    TEST_NEWLY_BROKEN, /* fails, and did not fail before (or was not there) */
    TEST_NEWLY_FIXED,
    TEST_STILL_BROKEN,
    TEST_FLAKY,
    TEST_ADDED,
    TEST_REMOVED,
    TEST_NEWLY_SKIPPED,
    TEST_CHANGE_COUNT,
};

/* "newly_broken" …, the names of docs/api.md. */
const char *test_change_name(enum test_change change);
enum test_change test_change_parse(const char *name); /* TEST_CHANGE_COUNT: none of them */

struct test_change_names {
    size_t total;
    size_t shown; /* how many of them are in `names` */
    char *names;  /* each followed by a newline; NULL: none */
};

struct test_changes {
    bool compared; /* false: there is nothing to compare; nothing else holds then */
    struct test_change_names of[TEST_CHANGE_COUNT];
};

/* Compare two sorted lists; BEFORE must be whole and neither full, else nothing is compared. With an
 * AFTER that is cut, no test counts as removed. Release it. */
void test_changes_find(const struct test_list *before, const struct test_list *after,
                       struct test_changes *changes);
void test_changes_release(struct test_changes *changes);

/* Whether AFTER is whole and has failures, all of which are ones that were there before. */
bool test_changes_explain_failure(const struct test_changes *changes,
                                  const struct test_list *after);

/* Add NAME to NAMES while there is room, and count it. */
void test_change_names_add(struct test_change_names *names, const char *name);

/* The next of the names: *AT is NULL at first. False at the end. NAME is not terminated. */
bool test_change_names_next(const struct test_change_names *names, const char **at,
                            const char **name, size_t *len);

#endif
