/* What the lists of single tests of a run become: evidence, a verdict, a draft or none. */
#include "world.h"

#include <unistd.h>

#include "base/cleanup.h"
#include "task/exit.h"

static const char same[] = "codex-tests 1 whole\npassed a\nfailed b\nend 2\n";

static void put(struct world_run *run, enum spawn_run_fd which, const char *text)
{
    assert_int_equal(ftruncate(run->fds[which], 0), 0);
    assert_int_equal(pwrite(run->fds[which], text, strlen(text), 0), strlen(text));
}

/* A run whose baseline and verification have these statuses and lists (NULL: none). */
static void run_has_tests(struct world_run *run, int baseline, const char *before, int verification,
                          const char *after)
{
    if (!(run->request.flags & SPAWN_RUN_BASELINE_KNOWN)) {
        put(run, SPAWN_FD_TESTS_BEFORE, before ? before : "");
        run_says(run,
                 "{\"type\":\"phase.completed\",\"phase\":\"baseline\",\"round\":1,\"status\":%d,"
                 "\"result\":{\"command\":\"make check\",\"exit_code\":%d,\"passed\":77}}",
                 baseline, baseline != 0);
    }
    run_says(run, "{\"type\":\"phase.started\",\"phase\":\"working\",\"round\":1}");
    run_says(run, "{\"type\":\"phase.completed\",\"phase\":\"working\",\"round\":1,\"status\":0,"
                  "\"result\":{\"commit\":\"" WORK_COMMIT "\",\"changed\":true,\"title\":\"T\"}}");
    assert_int_equal(write(run->fds[SPAWN_FD_WORK_BUNDLE], "work", 4), 4);
    put(run, SPAWN_FD_TESTS_AFTER, after ? after : "");
    run_says(run, "{\"type\":\"phase.started\",\"phase\":\"verifying\",\"round\":1}");
    run_says(run,
             "{\"type\":\"phase.completed\",\"phase\":\"verifying\",\"round\":1,\"status\":%d,"
             "\"result\":{\"command\":\"make check\",\"exit_code\":%d,\"passed\":77,"
             "\"newly_broken\":[\"lie\"]}}",
             verification, verification != 0);
}

static struct task work(struct world *world, int baseline, const char *before, int verification,
                        const char *after)
{
    char prompt[32];
    snprintf(prompt, sizeof prompt, "task %d", world->runs_count);
    struct submission submission = {.uid = 1000, .prompt = prompt, .repo = "/repo"};
    /* Another command, so another baseline. */
    submission.test = prompt;
    int64_t number = world_submit_as(world, &submission);
    struct world_run *run = world_wait_run(world, world->runs_count + 1);
    run_has_tests(run, baseline, before, verification, after);
    run_ends(world, run, "done", true);
    return world_wait_end(world, number);
}

static void check(struct world *world, int baseline, const char *before, int verification,
                  const char *after, enum verdict verdict, bool draft)
{
    struct task task = work(world, baseline, before, verification, after);
    assert_string_equal(verdict_name(task.verdict), verdict_name(verdict));
    assert_int_equal(task.pull_request.draft, draft);
    task_release(&task);
}

static void failures_that_were_there_before_pass(void **state)
{
    struct world *world = *state;
    struct task task = work(world, 1, same, TEST_FAILED_AS_BEFORE, same);
    assert_int_equal(task.verdict, VERDICT_PASSED);
    assert_false(task.pull_request.draft);
    assert_int_equal(task.baseline.passed, 1);
    assert_int_equal(task.baseline.failed, 1);
    assert_int_equal(task.verification.passed, 1);
    assert_int_equal(task.verification.skipped, 0);
    assert_true(task.changes.compared);
    assert_string_equal(task.changes.of[TEST_STILL_BROKEN].names, "b\n");
    assert_int_equal(task.changes.of[TEST_NEWLY_BROKEN].total, 0);
    assert_non_null(strstr(task.pull_request.body, "| still broken | 1 | `b` |"));
    assert_false(world_has_file(world, task.id, "tests-1.before"));
    assert_false(world_has_file(world, task.id, "tests-1.after"));
    task_release(&task);
}

static void newly_broken_tests_fail(void **state)
{
    struct world *world = *state;
    struct task task = work(world, 1, same, TEST_NEWLY_FAILED,
                            "codex-tests 1 whole\nfailed a\nfailed b\nflaky c\nend 3\n");
    assert_int_equal(task.verdict, VERDICT_FAILED);
    assert_true(task.pull_request.draft);
    assert_string_equal(task.changes.of[TEST_NEWLY_BROKEN].names, "a\n");
    assert_int_equal(task.verification.passed, 1);
    task_release(&task);
}

static void fewer_tests_make_a_draft(void **state)
{
    struct world *world = *state;
    check(world, 0, "codex-tests 1 whole\npassed a\nend 1\n", 0,
          "codex-tests 1 whole\npassed a\nend 1\n", VERDICT_PASSED, false);
    check(world, 0, "codex-tests 1 whole\npassed a\npassed b\nend 2\n", 0,
          "codex-tests 1 whole\npassed a\nend 1\n", VERDICT_PASSED, true);
    check(world, 0, "codex-tests 1 whole\npassed a\nend 1\n", 0,
          "codex-tests 1 whole\nskipped a\nend 1\n", VERDICT_PASSED, true);
    check(world, 0, "codex-tests 1 whole\nskipped a\nend 1\n", 0,
          "codex-tests 1 whole\npassed a\npassed b\nend 2\n", VERDICT_PASSED, false);
}

/* The sandbox's own word for it does not count. */
static void claims_are_checked(void **state)
{
    struct world *world = *state;
    static const char broken[] = "codex-tests 1 whole\nfailed a\nfailed b\nend 2\n";
    check(world, 1, same, TEST_FAILED_AS_BEFORE, broken, VERDICT_FAILED, true);
    check(world, 1, same, TEST_FAILED_AS_BEFORE, NULL, VERDICT_UNPROVEN, true);
    check(world, 1, NULL, TEST_FAILED_AS_BEFORE, same, VERDICT_UNPROVEN, true);
    check(world, 0, NULL, TEST_FAILED_AS_BEFORE, same, VERDICT_FAILED, true);
    check(world, 1, NULL, TEST_NEWLY_FAILED, same, VERDICT_UNPROVEN, true);
    check(world, 1, same, TEST_FAILED, same, VERDICT_PASSED, false);
    check(world, 1, same, TEST_FAILED, "codex-tests 1 cut\npassed a\nfailed b\nend 2\n",
          VERDICT_UNPROVEN, true);
    check(world, 1, same, TEST_TIMED_OUT, same, VERDICT_UNPROVEN, true);
}

static void lists_that_are_none_are_not_used(void **state)
{
    struct world *world = *state;
    static const char *const bad[] = {"x", "codex-tests 1 whole\npassed a\nfailed b\nend 2\nmore\n",
                                      "codex-tests 1 whole\nfailed b\npassed a\nend 2\n",
                                      "codex-tests 1 whole\npassed a\x1b[2J\nend 1\n",
                                      "codex-tests 1 whole\npassed a\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct task task = work(world, 1, same, TEST_FAILED_AS_BEFORE, bad[i]);
        assert_int_equal(task.verdict, VERDICT_UNPROVEN);
        assert_false(task.changes.compared);
        assert_int_equal(task.verification.passed, -1);
        task_release(&task);
    }
    /* larger than any list may be */
    AUTO_FREE char *large = malloc(TEST_LIST_BYTES_MAX + 1000);
    memset(large, 'x', TEST_LIST_BYTES_MAX + 999);
    large[TEST_LIST_BYTES_MAX + 999] = '\0';
    check(world, 1, same, TEST_FAILED_AS_BEFORE, large, VERDICT_UNPROVEN, true);
}

static void a_known_baseline_comes_with_its_tests(void **state)
{
    struct world *world = *state;
    int64_t first = world_submit(world, "one");
    struct world_run *run = world_wait_run(world, 1);
    AUTO_FREE char *none = fd_text(run->fds[SPAWN_FD_TESTS_BEFORE]);
    assert_string_equal(none, "");
    run_has_tests(run, 1, same, TEST_FAILED_AS_BEFORE, same);
    run_dies(world, run, 9); /* the next run of the task finds it known, too */
    run = world_wait_run(world, 2);
    assert_true(run->request.flags & SPAWN_RUN_BASELINE_KNOWN);
    assert_int_equal(run->request.baseline_status, TEST_FAILED);
    AUTO_FREE char *again = fd_text(run->fds[SPAWN_FD_TESTS_BEFORE]);
    assert_string_equal(again, same);
    run_has_tests(run, 1, same, TEST_FAILED_AS_BEFORE, same);
    run_ends(world, run, "done", true);
    struct task task = world_wait_end(world, first);
    assert_int_equal(task.verdict, VERDICT_PASSED);
    task_release(&task);

    int64_t second = world_submit(world, "two");
    run = world_wait_run(world, 3);
    AUTO_FREE char *known = fd_text(run->fds[SPAWN_FD_TESTS_BEFORE]);
    assert_string_equal(known, same);
    run_has_tests(run, 1, same, TEST_NEWLY_FAILED,
                  "codex-tests 1 whole\nfailed a\npassed b\nend 2\n");
    run_ends(world, run, "done", true);
    task = world_wait_end(world, second);
    assert_int_equal(task.verdict, VERDICT_FAILED);
    assert_string_equal(task.changes.of[TEST_NEWLY_FIXED].names, "b\n");
    assert_int_equal(task.baseline.failed, 1);
    task_release(&task);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    static const struct CMUnitTest tests[] = {
        TEST(failures_that_were_there_before_pass),
        TEST(newly_broken_tests_fail),
        TEST(fewer_tests_make_a_draft),
        TEST(claims_are_checked),
        TEST(lists_that_are_none_are_not_used),
        TEST(a_known_baseline_comes_with_its_tests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
