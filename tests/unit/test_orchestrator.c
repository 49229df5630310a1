/* The course of tasks, from submission to delivery. */
#include "world.h"

#include <errno.h>

#include <unistd.h>

#include "base/cleanup.h"

static void a_task_from_submission_to_pull_request(void **state)
{
    struct world *world = *state;
    int64_t number = world_submit(world, "Add pagination");
    assert_string_equal(world->resolve.last_args, "resolve --repo /repo");
    assert_int_equal(world->resolve.last_as, SPAWN_GIT_AS_SUBMITTER);
    assert_int_equal(world->resolve.last_uid, 1000);
    struct world_run *run = world_wait_run(world, 1);
    assert_string_equal(world->fetch.last_args,
                        "fetch --repo /repo --commit " BASE_COMMIT " --large-files 2147483648");
    assert_string_equal(run->request.repo, "repo");
    assert_int_equal(run->request.verify_rounds, 3);
    assert_int_equal(run->request.flags, 0);
    run_works(run);
    run_ends(world, run, "done", true);
    struct task task = world_wait_end(world, number);

    assert_string_equal(world_states(world, number),
                        "queued preparing baseline working verifying delivering completed");
    assert_string_equal(world->import.last_args,
                        "import --commit " WORK_COMMIT " --base-commit " BASE_COMMIT);
    assert_int_equal(world->import.last_as, SPAWN_GIT_ISOLATED);
    assert_string_equal(world->push.last_args,
                        "push --repo /repo --commit " WORK_COMMIT " --branch feat/add-it");
    assert_int_equal(task.verdict, VERDICT_PASSED);
    assert_string_equal(task.branch, "feat/add-it");
    assert_string_equal(task.commit, WORK_COMMIT);
    assert_string_equal(task.baseline.command, "make check");
    assert_int_equal(task.usage.input_tokens, 10);
    assert_int_equal(task.usage.reasoning_output_tokens, 2);
    assert_int_equal(task.archive_size, 5);
    assert_string_equal(task.pull_request.title, "Add it");
    assert_false(task.pull_request.draft);
    assert_non_null(strstr(task.pull_request.body, "Because."));
    assert_non_null(strstr(task.pull_request.body, "`make check`"));
    /* What is kept, and what is not. */
    assert_true(world_has_file(world, task.id, "diff.patch"));
    assert_true(world_has_file(world, task.id, "archive.tar.zst"));
    assert_false(world_has_file(world, task.id, "base.bundle"));
    assert_false(world_has_file(world, task.id, "push.bundle"));
    assert_false(world_has_file(world, task.id, "work-1.bundle"));
    assert_false(world_has_file(world, task.id, "events-1.jsonl"));
    task_release(&task);
}

static void a_run_is_given_what_it_needs(void **state)
{
    struct world *world = *state;
    struct submission submission = {.uid = 1000,
                                    .prompt = "say \"hi\"",
                                    .repo = "/repo",
                                    .test = "make it",
                                    .effort = "low",
                                    .model = "m2",
                                    .budget_tokens = 1000,
                                    .timeout_ms = 60000};
    world_submit_as(world, &submission);
    struct world_run *run = world_wait_run(world, 1);
    AUTO_FREE char *task = fd_text(run->fds[SPAWN_FD_TASK]);
    AUTO_FREE char *gateway = fd_text(run->fds[SPAWN_FD_GATEWAY]);
    assert_non_null(strstr(task, "\"prompt\":\"say \\\"hi\\\"\""));
    assert_non_null(strstr(task, "\"test_command\":\"make it\""));
    assert_non_null(strstr(task, "\"workdir\":\"/workspace/repo\""));
    assert_non_null(strstr(task, "\"effort\":\"low\""));
    assert_null(strstr(task, "sk-secret"));
    assert_non_null(strstr(gateway, "\"key\":\"sk-secret\""));
    assert_non_null(strstr(gateway, "\"model\":\"m2\""));
    assert_non_null(strstr(gateway, "\"budget_tokens\":1000,\"used_tokens\":0"));
    const char *key = strstr(task, "\"api_key\":\"") + strlen("\"api_key\":\"");
    char expected[128];
    snprintf(expected, sizeof expected, "\"sandbox_key\":\"%.*s\"", (int)strcspn(key, "\""), key);
    assert_non_null(strstr(gateway, expected));
    assert_int_equal(run->request.limits.timeout_ms, 60000);
    assert_null(getenv("WORLD_KEY"));
    /* A second run starts with what the first one used. */
    run_works(run);
    run_dies(world, run, 9);
    run = world_wait_run(world, 2);
    AUTO_FREE char *again = fd_text(run->fds[SPAWN_FD_GATEWAY]);
    assert_non_null(strstr(again, "\"used_tokens\":15"));
    assert_null(strstr(again, expected));
    assert_true(run->request.limits.timeout_ms < 60000);
    assert_true(run->request.flags & SPAWN_RUN_BASELINE_KNOWN);
    assert_int_equal(lseek(run->fds[SPAWN_FD_WORK_BUNDLE], 0, SEEK_END), 0);
}

static void bundle_and_baseline_are_known_the_second_time(void **state)
{
    struct world *world = *state;
    int64_t first = world_submit(world, "one");
    struct world_run *run = world_wait_run(world, 1);
    run_works(run);
    run_ends(world, run, "done", false);
    struct task task = world_wait_end(world, first);
    assert_string_equal(world_states(world, first),
                        "queued preparing baseline working verifying completed");
    assert_int_equal(task.verdict, VERDICT_NONE);
    assert_null(task.branch);
    task_release(&task);

    int64_t second = world_submit(world, "two");
    run = world_wait_run(world, 2);
    assert_int_equal(world->fetch.calls, 1);
    assert_int_equal(run->request.flags, SPAWN_RUN_BASELINE_KNOWN);
    assert_int_equal(run->request.baseline_status, 0);
    run_works(run);
    run_ends(world, run, "done", true);
    task = world_wait_end(world, second);
    assert_string_equal(task.baseline.command, "make check");
    assert_string_equal(world_states(world, second),
                        "queued preparing working verifying delivering completed");
    task_release(&task);
}

/* What `resolve` says is said by a process of the submitter's. Who makes it name another's
 * repository and commit must not get what that one has fetched. */
static void bundles_are_not_shared_between_users(void **state)
{
    struct world *world = *state;
    int64_t first = world_submit(world, "mine");
    struct world_run *run = world_wait_run(world, 1);
    run_works(run);
    run_ends(world, run, "done", false);
    struct task task = world_wait_end(world, first);
    task_release(&task);

    world->fetch.exit_status = 1;
    int64_t second = world_submit_as(
        world, &(struct submission){.uid = 1001, .prompt = "mine too", .repo = "/other"});
    task = world_wait_end(world, second);
    assert_string_equal(task.repo, "/repo");
    assert_int_equal(task.state, TASK_FAILED);
    assert_int_equal(world->fetch.calls, 2);
    assert_int_equal(world->fetch.last_uid, 1001);
    task_release(&task);
}

/* Nor must the owner of what root has named turn it into what is root's. */
static void what_root_names_stays_where_it_is(void **state)
{
    struct world *world = *state;
    static const char *const others[] = {"/other", "/repository", "/rep", "/x/repo"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct submission submission = {.uid = 0, .prompt = "x", .repo = others[i]};
        assert_int_equal(world_submit_as(world, &submission), 0);
        assert_int_equal(world->submit_err.code, ERR_REFUSED);
        assert_non_null(strstr(world->submit_err.message, "leads to the repository '/repo'"));
    }
    static const char *const within[] = {"/repo", "/repo/", "/repo/src/deep"};
    for (size_t i = 0; i < sizeof within / sizeof within[0]; i++)
        assert_int_not_equal(
            world_submit_as(world,
                            &(struct submission){.uid = 0, .prompt = "x", .repo = within[i]}),
            0);
}

static void one_fetch_for_tasks_that_start_together(void **state)
{
    struct world *world = *state;
    world->fetch.silent = true;
    int64_t first = world_submit(world, "one");
    world_submit(world, "two");
    world_wait_calls(world, &world->fetch, 1);
    world_settle(world);
    assert_int_equal(world->fetch.calls, 1);
    /* The one that was first is cancelled: the other one still waits for the same fetch. */
    struct task task = world_task(world, first);
    ok(orchestrator_cancel(world->orchestrator, &task, &why));
    task_release(&task);
    world_settle(world);
    assert_int_equal(world->fetch.calls, 1);
    /* That is killed: it is tried again. */
    world->fetch.silent = false;
    world_report(world, SPAWN_GIT_ENDED,
                 &(struct spawn_report){.id = world->fetch.last_id, .wait_status = 9});
    world_wait_run(world, 1);
    assert_int_equal(world->fetch.calls, 2);
    assert_true(world_task_is(world, first, TASK_CANCELLED));
}

static void so_many_run_at_a_time(void **state)
{
    struct world *world = *state;
    int64_t numbers[4];
    for (int i = 0; i < 4; i++)
        numbers[i] = world_submit(world, "x");
    world_wait_run(world, 2);
    world_settle(world);
    assert_int_equal(world->runs_count, 2);
    struct task waiting = world_task(world, numbers[3]);
    assert_string_equal(waiting.waiting_for, "1 task ahead");
    task_release(&waiting);
    run_works(&world->runs[0]);
    run_ends(world, &world->runs[0], "done", true);
    world_wait_run(world, 3);
    assert_true(world_task_is(world, numbers[0], TASK_COMPLETED));
    assert_true(world_task_is(world, numbers[3], TASK_QUEUED));
}

static void names_that_are_taken_get_a_number(void **state)
{
    struct world *world = *state;
    strcpy(world->branches[world->branches_count++], "feat/add-it");
    int64_t a = world_submit(world, "x"), b = world_submit(world, "x");
    world_wait_run(world, 2);
    for (int i = 0; i < 2; i++) {
        run_works(&world->runs[i]);
        run_ends(world, &world->runs[i], "done", true);
    }
    struct task task = world_wait_end(world, a), other = world_wait_end(world, b);
    /* Both have the same commit here, and still a branch each. */
    assert_string_not_equal(task.branch, other.branch);
    assert_true(!strcmp(task.branch, "feat/add-it-2") || !strcmp(other.branch, "feat/add-it-2"));
    assert_true(!strcmp(task.branch, "feat/add-it-3") || !strcmp(other.branch, "feat/add-it-3"));
    assert_int_equal(world->branches_count, 3);
    assert_int_not_equal(task.pull_request.number, other.pull_request.number);
    task_release(&task);
    task_release(&other);
}

static void a_named_branch_is_refused_when_it_is_there(void **state)
{
    struct world *world = *state;
    struct submission submission = {
        .uid = 1000, .prompt = "x", .repo = "/repo", .branch = "mine", .base = "dev"};
    int64_t number = world_submit_as(world, &submission);
    assert_string_equal(world->resolve.last_args, "resolve --repo /repo --base dev --branch mine");
    assert_int_equal(world_submit_as(world, &submission), 0);
    assert_string_equal(world->submit_err.message,
                        "another task is at work for branch 'mine': choose another name");
    /* It appears while the task works. */
    struct world_run *run = world_wait_run(world, 1);
    strcpy(world->branches[world->branches_count++], "mine");
    run_works(run);
    run_ends(world, run, "done", true);
    struct task task = world_wait_end(world, number);
    assert_int_equal(task.state, TASK_FAILED);
    assert_int_equal(task.fault.kind, FAULT_USER);
    assert_string_equal(task.fault.step, "delivering");
    assert_null(task.branch);
    assert_true(world_has_file(world, task.id, "diff.patch"));
    assert_true(world_has_file(world, task.id, "work.bundle"));
    task_release(&task);
    assert_int_equal(world_submit_as(world, &submission), 0);
    assert_int_equal(world->submit_err.code, ERR_REFUSED);
    assert_string_equal(world->submit_err.message,
                        "branch 'mine' exists already: choose another name");
}

static void a_failed_run_keeps_its_work(void **state)
{
    struct world *world = *state;
    int64_t number = world_submit(world, "x");
    struct world_run *run = world_wait_run(world, 1);
    run_works(run);
    run_ends(world, run, "failed", true);
    struct task task = world_wait_end(world, number);
    assert_int_equal(task.state, TASK_FAILED);
    assert_int_equal(task.fault.kind, FAULT_LIMIT);
    assert_string_equal(task.fault.message, "too late");
    assert_null(task.branch);
    assert_int_equal(task.verdict, VERDICT_UNSET);
    assert_int_equal(world->push.calls, 0);
    assert_true(world_has_file(world, task.id, "diff.patch"));
    assert_true(world_has_file(world, task.id, "work.bundle"));
    task_release(&task);
}

static void cancel_in_every_state(void **state)
{
    struct world *world = *state;
    int64_t running = world_submit(world, "x");
    world_submit(world, "y");
    int64_t queued = world_submit(world, "z");
    world_wait_run(world, 2);
    struct task task = world_task(world, queued);
    ok(orchestrator_cancel(world->orchestrator, &task, &why));
    assert_true(world_task_is(world, queued, TASK_CANCELLED));
    task_release(&task);
    task = world_task(world, queued);
    assert_int_equal(orchestrator_cancel(world->orchestrator, &task, &why), ERR_REFUSED);
    assert_non_null(strstr(why.message, "has ended: it is cancelled"));
    task_release(&task);

    task = world_task(world, running);
    ok(orchestrator_cancel(world->orchestrator, &task, &why));
    task_release(&task);
    world_wait_cancels(world, 1);
    assert_memory_equal(&world->cancelled[0], &world->runs[0].request.name,
                        sizeof(struct run_name));
    run_works(&world->runs[0]);
    run_ends(world, &world->runs[0], "cancelled", true);
    task = world_wait_end(world, running);
    assert_int_equal(task.state, TASK_CANCELLED);
    assert_true(world_has_file(world, task.id, "diff.patch"));
    assert_int_equal(world->push.calls, 0);
    task_release(&task);
}

static void cancel_while_delivering(void **state)
{
    struct world *world = *state;
    world->import.silent = true;
    int64_t number = world_submit(world, "x");
    struct world_run *run = world_wait_run(world, 1);
    run_works(run);
    run_ends(world, run, "done", true);
    world_wait_calls(world, &world->import, 1);
    struct task task = world_task(world, number);
    assert_int_equal(task.state, TASK_DELIVERING);
    ok(orchestrator_cancel(world->orchestrator, &task, &why)); /* not pushed yet */
    task_release(&task);
    world->import.silent = false;
    world_restart(world);
    task = world_wait_end(world, number);
    assert_int_equal(task.state, TASK_CANCELLED);
    assert_int_equal(world->push.calls, 0);
    assert_true(world_has_file(world, task.id, "diff.patch"));
    task_release(&task);

    world->push.silent = true;
    number = world_submit(world, "y");
    run = world_wait_run(world, 2);
    run_works(run);
    run_ends(world, run, "done", true);
    world_wait_calls(world, &world->push, 1);
    task = world_task(world, number);
    assert_int_equal(orchestrator_cancel(world->orchestrator, &task, &why), ERR_REFUSED);
    assert_non_null(strstr(why.message, "is delivering"));
    task_release(&task);
}

static void submissions_that_are_refused(void **state)
{
    struct world *world = *state;
    const struct {
        struct submission submission;
        int code;
        const char *message;
    } cases[] = {
        {{.prompt = " \n", .repo = "/r"}, ERR_USAGE, "the prompt is empty: say what is to be done"},
        {{.prompt = "x", .repo = "r"}, ERR_USAGE, "'r' is not an absolute path"},
        {{.prompt = "x"}, ERR_USAGE, "no repository is named"},
        {{.prompt = "x", .repo = "http://h/r"},
         ERR_REFUSED,
         "http:// hands the login to everybody on the way: write https://, or set allow_http = yes "
         "in [forge \"h\"] of codex.conf"},
        {{.prompt = "x", .repo = "https://token@h/r"},
         ERR_USAGE,
         "the address holds a login, which everybody could read who sees the task: leave it out, "
         "and set token_env or token_file in [forge \"HOST\"] of codex.conf"},
        {{.prompt = "x", .repo = "git@h:r"},
         -EACCES,
         "there is no ssh key for h: set ssh_key_file and known_hosts in [forge \"h\"] of "
         "codex.conf, and restart codexd; or give its https:// address"},
        {{.prompt = "x", .repo = "/r", .effort = "max"},
         ERR_USAGE,
         "'max' is not an effort: low, medium, high or xhigh"},
        {{.prompt = "x", .repo = "/r", .timeout_ms = -1},
         ERR_USAGE,
         "the timeout is not between 1 ms and 30 days"},
        {{.prompt = "x", .repo = "/r", .priority = 101},
         ERR_USAGE,
         "the priority is not between -100 and 100"},
        {{.prompt = "x", .repo = "/r", .test = " "},
         ERR_USAGE,
         "the test command is empty or longer than 8192 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(world_submit_as(world, &cases[i].submission), 0);
        assert_int_equal(world->submit_err.code, cases[i].code);
        assert_string_equal(world->submit_err.message, cases[i].message);
    }
    assert_int_equal(world->resolve.calls, 0);
    static const int codes[] = {[1] = ERR_REFUSED, [2] = ERR_USAGE, [3] = ERR_NOT_FOUND};
    for (int i = 1; i <= 3; i++) {
        world->resolve.exit_status = i;
        assert_int_equal(world_submit(world, "x"), 0);
        assert_int_equal(world->submit_err.code, codes[i]);
        assert_string_equal(world->submit_err.message, "it would not");
    }
}

static void count_call(void *arg)
{
    ++*(int *)arg;
}

static void one_user_cannot_fill_the_queue(void **state)
{
    struct world *world = *state;
    world_submit(world, "x");
    world_submit(world, "y");
    world_wait_run(world, 2);
    ok(store_begin(world->fixture->store, STORE_LATER, &why));
    for (int i = 0; i < 1000; i++)
        add_task(world->fixture->store, 0, NULL); /* uid 1000's */
    ok(store_commit(world->fixture->store, &why));
    assert_int_equal(world_submit(world, "z"), 0);
    assert_int_equal(world->submit_err.code, ERR_REFUSED);
    struct submission other = {.uid = 1001, .prompt = "x", .repo = "/repo"};
    assert_int_not_equal(world_submit_as(world, &other), 0);
}

#define TIP "cccccccccccccccccccccccccccccccccccccccc"

/* A task, delivered with these answers of codex-git moved and merge (NULL: it fails). */
static struct task deliver_with(struct world *world, const char *moved, const char *merge)
{
    static int count;
    world->moved.output = moved;
    world->moved.exit_status = moved ? 0 : 1;
    world->merge.output = merge;
    world->merge.exit_status = merge ? 0 : 1;
    int64_t number = world_submit(world, "x");
    struct world_run *run = world_wait_run(world, ++count);
    run_works(run);
    run_ends(world, run, "done", true);
    struct task task = world_wait_end(world, number);
    assert_int_equal(task.state, TASK_COMPLETED);
    assert_true(task.pull_request.exists);
    return task;
}

static void a_base_that_moved_is_told_and_holds_nothing_up(void **state)
{
    struct world *world = *state;
    static const struct {
        const char *moved, *merge;
        int64_t behind; /* 0: nothing is told */
        int conflicts;
    } cases[] = {
        {"commit " TIP "\nbehind 3\n", "conflicts yes\n", 3, 1},
        {"commit " TIP "\nbehind 1\n", "conflicts no\n", 1, 0},
        {"commit " TIP "\nbehind 2\n", "conflicts", 2, -1},
        {"commit " TIP "\nbehind 2\n", NULL, 2, -1},
        {"commit " TIP "\nbehind 0\n", "conflicts yes\n", 0, -1},
        {"commit " TIP "\nbehind -1\n", "conflicts yes\n", 0, -1},
        {"commit " TIP "\nbehind 1", "conflicts yes\n", 0, -1},
        {"commit " TIP "\nbehind 1\nmore\n", "conflicts yes\n", 0, -1},
        {"commit x\nbehind 1\n", "conflicts yes\n", 0, -1},
        {"", "conflicts yes\n", 0, -1},
        {NULL, NULL, 0, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct task task = deliver_with(world, cases[i].moved, cases[i].merge);
        assert_int_equal(task.base_moved.behind, cases[i].behind);
        assert_int_equal(task.base_moved.conflicts, cases[i].conflicts);
        assert_int_equal(task.base_moved.commit != NULL, cases[i].behind > 0);
        assert_int_equal(strstr(task.pull_request.body, "meanwhile") != NULL, cases[i].behind > 0);
        task_release(&task);
    }
    assert_string_equal(world->moved.last_args,
                        "moved --repo /repo --base main --base-commit " BASE_COMMIT
                        " --commit " BASE_COMMIT);
    assert_int_equal(world->moved.last_as, SPAWN_GIT_AS_SUBMITTER);
    assert_string_equal(world->merge.last_args, "merge --commit " WORK_COMMIT);
    assert_int_equal(world->merge.last_as, SPAWN_GIT_ISOLATED);
    assert_int_equal(world->merge.calls, 4);
}

static void merged_is_learned_when_the_task_is_read(void **state)
{
    struct world *world = *state;
    int64_t number = world_submit(world, "x");
    struct world_run *run = world_wait_run(world, 1);
    run_works(run);
    run_ends(world, run, "done", true);
    struct task task = world_wait_end(world, number);
    int called = 0;
    world->merged.exit_status = 1;
    assert_non_null(orchestrator_refresh(world->orchestrator, &task, count_call, &called));
    world_wait_calls(world, &world->merged, 1);
    world_settle(world);
    assert_int_equal(called, 1);
    assert_string_equal(world->merged.last_args,
                        "merged --repo /repo --base main --commit " WORK_COMMIT);
    task_release(&task);
    task = world_task(world, number);
    assert_string_equal(task.pull_request.state, "open");
    world->merged.exit_status = 0;
    orchestrator_refresh(world->orchestrator, &task, count_call, &called);
    world_wait_calls(world, &world->merged, 2);
    world_settle(world);
    task_release(&task);
    task = world_task(world, number);
    assert_string_equal(task.pull_request.state, "merged");
    assert_null(orchestrator_refresh(world->orchestrator, &task, count_call, &called));
    assert_int_equal(called, 3);
    task_release(&task);
}

int main(void)
{
#define in_world(test) cmocka_unit_test_setup_teardown(test, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        in_world(a_task_from_submission_to_pull_request),
        in_world(a_run_is_given_what_it_needs),
        in_world(bundle_and_baseline_are_known_the_second_time),
        in_world(bundles_are_not_shared_between_users),
        in_world(what_root_names_stays_where_it_is),
        in_world(one_fetch_for_tasks_that_start_together),
        in_world(so_many_run_at_a_time),
        in_world(names_that_are_taken_get_a_number),
        in_world(a_named_branch_is_refused_when_it_is_there),
        in_world(a_failed_run_keeps_its_work),
        in_world(cancel_in_every_state),
        in_world(cancel_while_delivering),
        in_world(submissions_that_are_refused),
        in_world(one_user_cannot_fill_the_queue),
        in_world(a_base_that_moved_is_told_and_holds_nothing_up),
        in_world(merged_is_learned_when_the_task_is_read),
    };
    return cmocka_run_group_tests_name("orchestrator", tests, NULL, NULL);
}
