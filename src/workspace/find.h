/*
 * Which command runs a repository's tests.
 *
 * The first of these that fits, in this order (docs/tests-found.md says the same to users):
 *
 *     package.json      with a "test" script other than the one that `npm init` writes:
 *                       npm, yarn or pnpm `test`, by the lock file that is there
 *     pytest            pytest.ini, a pytest section in pyproject.toml, setup.cfg or tox.ini,
 *                       a conftest.py, or test files that use pytest: python3 -m pytest
 *     unittest          test files that use unittest: python3 -m unittest discover -v
 *     Makefile          with a target `test`: make test; else with `check`: make check
 *     Cargo.toml        cargo test --no-fail-fast
 *     go.mod            and a *_test.go: go test ./...
 *     pom.xml           and test classes: mvn test, by the repository's own mvnw if it has one
 *     build.gradle      (or .kts) and test classes: gradle test, or ./gradlew
 *     CMakeLists.txt    that enables testing: configure, build, ctest
 *     meson.build       that has a test: meson setup, meson test
 *
 * Only files are looked at; nothing of the repository runs. The same tree gives the same answer,
 * but for pytest: whether it is installed decides where a repository could do with either.
 */
#ifndef CODEX_WORKSPACE_FIND_H
#define CODEX_WORKSPACE_FIND_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

enum { TEST_COMMANDS_MAX = 3, TEST_ARGS_MAX = 12 };

/* What a status and the end of the output say about whether there was a test at all. */
typedef bool test_none_ran_fn(int exit_code, const char *output_tail);

struct test_plan {
    const char *found; /* by what, as above; NULL: nothing was found */
    /* Run one after the other, until one fails. Every array ends with NULL. */
    char *argv[TEST_COMMANDS_MAX][TEST_ARGS_MAX + 1];
    size_t count;
    char *env;                  /* one "NAME=value" more, or NULL */
    test_none_ran_fn *none_ran; /* NULL: every run counts */
};

/* What was looked for, for a message. */
extern const char test_plan_looked_for[];

/* What is asked of the machine, and only when it matters. */
struct test_probe {
    bool (*pytest)(void *arg); /* whether `python3 -m pytest` works here */
    void *arg;
};

/* Find the tests of the directory DIR. Returns 0 also when there are none. Release PLAN also after
 * a failure. */
int test_plan_find(const char *dir, const struct test_probe *probe, struct test_plan *plan,
                   struct err *err);

/* A plan of the one command line COMMAND, which a person wrote. */
void test_plan_use(const char *command, struct test_plan *plan);

void test_plan_release(struct test_plan *plan);

/* The plan as a person would type it. */
void test_plan_describe(const struct test_plan *plan, struct buf *out);

/* For finders: another command of the plan (copied). Ends with NULL. */
void test_plan_add(struct test_plan *plan, ...) __attribute__((sentinel));

#endif
