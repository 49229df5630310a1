#include "store_fixture.h"

#include "base/cleanup.h"
#include "task/exit.h"

#include <errno.h>
#include <jansson.h>
#include <sched.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

struct seen {
    int count;
    int64_t last;
    char ids[256];
    char json[4096];
};

static int see_event(void *arg, int64_t seq, const char *type, const char *json)
{
    struct seen *seen = arg;
    assert_int_equal(seq, seen->last + 1);
    seen->last = seq;
    seen->count++;
    snprintf(seen->json, sizeof seen->json, "%s", json);
    return 0;
}

static bool see_task(void *arg, const struct task *task)
{
    struct seen *seen = arg;
    seen->count++;
    sprintf(seen->ids + strlen(seen->ids), "%lld ", (long long)task->number);
    return true;
}

static bool see_task_quietly(void *arg, const struct task *task)
{
    ((struct seen *)arg)->count++;
    return true;
}

static void a_task_is_kept_as_it_was_asked(void **state)
{
    struct fixture *f = *state;
    char id[TASK_ID_SIZE];
    ok(store_begin(f->store, STORE_NOW, &why));
    int64_t number = add_task(f->store, 5, id);
    ok(store_commit(f->store, &why));
    store_close(f->store);
    struct err err = {0};
    f->store = store_open(f->path, &err);

    struct task task;
    ok(store_task_get(f->store, id, &task, &why));
    assert_int_equal(task.number, number);
    assert_int_equal(task.state, TASK_QUEUED);
    assert_int_equal(task.priority, 5);
    assert_string_equal(task.prompt, "do it");
    assert_string_equal(task.waiting_for, "a free slot");
    assert_int_equal(task.last_seq, 1);
    assert_true(task.created_ms > 0 && task.started_ms == 0);
    task_release(&task);
    assert_int_equal(store_task_get(f->store, "task-nonesuch", &task, &err), ERR_NOT_FOUND);
    assert_string_equal(err.message, "there is no task 'task-nonesuch'");

    struct seen seen = {0};
    ok(store_event_list(f->store, number, 0, 100, see_event, &seen, &why));
    json_t *json = json_loads(seen.json, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "task")), id);
    assert_string_equal(json_string_value(json_object_get(json, "type")), "task.state");
    assert_true(json_is_null(json_object_get(json, "from")));
    json_decref(json);
}

static void the_queue_is_by_priority_then_age(void **state)
{
    struct fixture *f = *state;
    ok(store_begin(f->store, STORE_LATER, &why));
    int64_t low = add_task(f->store, -1, NULL), old = add_task(f->store, 0, NULL);
    int64_t young = add_task(f->store, 0, NULL), urgent = add_task(f->store, 9, NULL);
    int64_t expected[] = {urgent, old, young, low};
    struct task task;
    ok(store_task_load(f->store, low, &task, &why));
    assert_string_equal(task.waiting_for, "3 tasks ahead");
    task_release(&task);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(store_queue_head(f->store, NULL), expected[i]);
        struct task_move move = {.number = expected[i], .to = TASK_PREPARING};
        ok(task_set_state(f->store, &move, &why));
    }
    assert_int_equal(store_queue_head(f->store, NULL), 0);
    int64_t numbers[10];
    assert_int_equal(store_tasks_under_way(f->store, numbers, 10, NULL), 4);
    ok(store_commit(f->store, &why));
}

static void lists_are_newest_first_and_paged(void **state)
{
    struct fixture *f = *state;
    char ids[5][TASK_ID_SIZE];
    ok(store_begin(f->store, STORE_LATER, &why));
    for (int i = 0; i < 5; i++)
        add_task(f->store, 0, ids[i]);
    struct task_move move = {.number = 3, .to = TASK_CANCELLED};
    ok(task_set_state(f->store, &move, &why));
    ok(store_commit(f->store, &why));

    struct seen seen = {0};
    struct store_list all = {.uid = -1, .limit = 3};
    ok(store_task_list(f->store, &all, see_task, &seen, &why));
    assert_string_equal(seen.ids, "5 4 3 ");
    seen = (struct seen){0};
    struct store_list next = {.uid = -1, .limit = 3, .before = ids[2], .active = true};
    ok(store_task_list(f->store, &next, see_task, &seen, &why));
    assert_string_equal(seen.ids, "2 1 ");
    seen = (struct seen){0};
    struct store_list active = {.uid = 1000, .limit = 10, .active = true};
    ok(store_task_list(f->store, &active, see_task, &seen, &why));
    assert_string_equal(seen.ids, "5 4 2 1 ");
    seen = (struct seen){0};
    struct store_list others = {.uid = 1001, .limit = 10};
    ok(store_task_list(f->store, &others, see_task, &seen, &why));
    assert_int_equal(seen.count, 0);
    struct store_list unknown = {.uid = -1, .limit = 3, .before = "task-nonesuch"};
    assert_int_equal(store_task_list(f->store, &unknown, see_task, &seen, NULL), ERR_NOT_FOUND);
}

static void only_allowed_moves_with_the_current_fence(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    ok(store_begin(f->store, STORE_LATER, &why));
    int64_t n = add_task(f->store, 0, NULL);
    struct task_move illegal = {.number = n, .to = TASK_WORKING};
    assert_int_equal(task_set_state(f->store, &illegal, &err), ERR_REFUSED);
    assert_string_equal(err.message, "a task cannot go from queued to working");
    assert_int_equal(store_run_add(f->store, n, NULL), 1);
    struct task_move prepare = {.number = n, .fence = 1, .to = TASK_PREPARING};
    ok(task_set_state(f->store, &prepare, &why));
    assert_int_equal(store_run_add(f->store, n, NULL), 2);
    struct task_move old = {.number = n, .fence = 1, .to = TASK_WORKING};
    assert_int_equal(task_set_state(f->store, &old, &err), ERR_CONFLICT);
    assert_string_equal(err.message, "run 1 is over: run 2 has taken its place");
    assert_int_equal(store_check_fence(f->store, n, 1, NULL), ERR_CONFLICT);
    ok(store_check_fence(f->store, n, 2, &why));
    struct task_move same = {.number = n, .fence = 2, .to = TASK_PREPARING};
    ok(task_set_state(f->store, &same, &why));
    struct task_move failed = {.number = n,
                               .fence = 2,
                               .to = TASK_FAILED,
                               .fault = FAULT_LIMIT,
                               .fault_step = "working",
                               .fault_message = "out of time",
                               .reason = "out of time"};
    ok(task_set_state(f->store, &failed, &why));
    ok(store_commit(f->store, &why));

    struct task task;
    ok(store_task_load(f->store, n, &task, &why));
    assert_int_equal(task.state, TASK_FAILED);
    assert_int_equal(task.fault.kind, FAULT_LIMIT);
    assert_string_equal(task.fault.message, "out of time");
    assert_true(task.started_ms && task.ended_ms);
    assert_int_equal(task.last_seq, 3); /* queued, preparing, failed: staying is no event */
    task_release(&task);
}

/* A reader of events sees the verdict where the task ends, too. */
static void the_verdict_stays_with_the_task(void **state)
{
    struct fixture *f = *state;
    ok(store_begin(f->store, STORE_LATER, &why));
    int64_t n = add_task(f->store, 0, NULL);
    static const enum task_state way[] = {TASK_PREPARING, TASK_BASELINE,   TASK_WORKING,
                                          TASK_VERIFYING, TASK_DELIVERING, TASK_COMPLETED};
    for (size_t i = 0; i < sizeof way / sizeof way[0]; i++) {
        struct task_move move = {.number = n, .to = way[i]};
        if (move.to == TASK_DELIVERING)
            move.verdict = VERDICT_FAILED;
        ok(task_set_state(f->store, &move, &why));
    }
    ok(store_commit(f->store, &why));
    static const char *const expected[] = {NULL, NULL, NULL, NULL, NULL, "failed", "failed"};
    for (int i = 0; i < 7; i++) {
        struct seen seen = {.last = i};
        ok(store_event_list(f->store, n, i, 1, see_event, &seen, &why));
        json_t *event = json_loads(seen.json, 0, NULL);
        const char *verdict = json_string_value(json_object_get(event, "verdict"));
        assert_true(verdict ? expected[i] && !strcmp(verdict, expected[i]) : !expected[i]);
        json_decref(event);
    }
}

static void nothing_of_a_rolled_back_transaction_stays(void **state)
{
    struct fixture *f = *state;
    ok(store_begin(f->store, STORE_LATER, &why));
    int64_t n = add_task(f->store, 0, NULL);
    ok(store_commit(f->store, &why));
    ok(store_begin(f->store, STORE_LATER, &why));
    struct store_event event = {.number = n, .type = "x", .members = ""};
    ok(store_event_add(f->store, &event, &why));
    store_rollback(f->store);
    ok(store_begin(f->store, STORE_LATER, &why));
    ok(store_event_add(f->store, &event, &why));
    ok(store_commit(f->store, &why));
    struct seen seen = {0};
    ok(store_event_list(f->store, n, 0, 10, see_event, &seen, &why));
    assert_int_equal(seen.count, 2);
}

static void refused_addresses_are_summed_up(void **state)
{
    static const char *const denied[] = {
        ",\"host\":\"a.test\",\"port\":443,\"reason\":\"host_not_allowed\",\"count\":1",
        ",\"host\":\"b.test\",\"port\":80,\"reason\":\"internet_off\",\"count\":5",
        ",\"host\":\"a.test\",\"port\":443,\"reason\":\"host_not_allowed\",\"count\":6",
        ",\"host\":null,\"port\":null,\"reason\":\"others\",\"count\":2",
        ",\"host\":\"c.test\",\"port\":443,\"count\":9223372036854775807",
        ",\"host\":\"c.test\",\"port\":443,\"count\":9223372036854775807",
    };
    struct fixture *f = *state;
    ok(store_begin(f->store, STORE_LATER, &why));
    int64_t n = add_task(f->store, 0, NULL), other = add_task(f->store, 0, NULL);
    for (size_t i = 0; i < sizeof denied / sizeof denied[0]; i++) {
        struct store_event event = {.number = n, .type = "network.denied", .members = denied[i]};
        ok(store_event_add(f->store, &event, &why));
    }
    for (int i = 0; i < 2 * REFUSALS_MAX; i++) {
        char members[100];
        snprintf(members, sizeof members, ",\"host\":\"h%d\",\"port\":443,\"count\":1", i);
        struct store_event event = {.number = other, .type = "network.denied", .members = members};
        ok(store_event_add(f->store, &event, &why));
    }
    ok(store_commit(f->store, &why));
    struct refusals refusals;
    ok(store_event_refusals(f->store, n, &refusals, &why));
    assert_int_equal(refusals.count, 4);
    assert_int_equal(refusals.total, 4);
    assert_string_equal(refusals.of[0].host, "c.test");
    assert_null(refusals.of[0].reason);
    assert_int_equal(refusals.of[0].count, 2000000000);
    assert_string_equal(refusals.of[1].host, "a.test");
    assert_int_equal(refusals.of[1].count, 7);
    assert_string_equal(refusals.of[1].reason, "host_not_allowed");
    assert_int_equal(refusals.of[1].port, 443);
    assert_string_equal(refusals.of[2].host, "b.test");
    assert_null(refusals.of[3].host);
    assert_int_equal(refusals.of[3].port, 0);
    refusals_release(&refusals);
    ok(store_event_refusals(f->store, other, &refusals, &why));
    assert_int_equal(refusals.count, REFUSALS_MAX);
    assert_int_equal(refusals.total, 2 * REFUSALS_MAX);
    refusals_release(&refusals);
}

static void evidence_outbox_and_pull_request(void **state)
{
    struct fixture *f = *state;
    ok(store_begin(f->store, STORE_NOW, &why));
    int64_t a = add_task(f->store, 0, NULL), b = add_task(f->store, 0, NULL);
    struct test_result result = {.known = true,
                                 .status = TEST_FAILED,
                                 .command = (char *)"make",
                                 .exit_code = 2,
                                 .duration_ms = 7};
    ok(store_test_set(f->store, a, STORE_TEST_BASELINE, &result, &why));
    struct store_baseline_key key = {"/repo", "0123", NULL, "host"};
    ok(store_baseline_set(f->store, &key, &result, &why));
    struct store_work work = {.run = 1, .commit = "c0", .title = "T"};
    ok(store_task_set_work(f->store, a, &work, &why));
    ok(store_task_set_work(f->store, b, &work, &why));
    struct outbox row = {.step = OUTBOX_PUSH,
                         .end_state = TASK_COMPLETED,
                         .branch_number = 2,
                         .branch = (char *)"feat/x",
                         .fault = {FAULT_USER, NULL, (char *)"m"}};
    ok(store_outbox_set(f->store, a, &row, &why));
    assert_int_equal(store_branch_taken(f->store, b, "/repo", "feat/x", "c1", NULL), 1);
    assert_int_equal(store_branch_taken(f->store, a, "/repo", "feat/x", "c0", NULL), 0);
    ok(store_task_set_branch(f->store, a, "feat/y", &why));
    assert_int_equal(store_branch_taken(f->store, b, "/repo", "feat/y", "c0", NULL), 1);
    assert_int_equal(store_branch_taken(f->store, b, "/repo", "feat/y", "c1", NULL), 0);
    struct pull_request request = {.forge = (char *)"plain",
                                   .state = (char *)"open",
                                   .draft = true,
                                   .title = (char *)"T",
                                   .body = (char *)"B"};
    ok(store_pull_request_add(f->store, a, "/repo", &request, &why));
    assert_int_equal(request.number, 1);
    assert_true(store_pull_request_add(f->store, a, "/repo", &request, NULL) < 0);
    ok(store_pull_request_add(f->store, b, "/repo", &request, &why));
    assert_int_equal(request.number, 2);
    ok(store_pull_request_set_state(f->store, a, "merged", 99, &why));
    ok(store_commit(f->store, &why));

    struct task task;
    ok(store_task_load(f->store, a, &task, &why));
    assert_int_equal(task.baseline.exit_code, 2);
    assert_false(task.verification.known);
    assert_string_equal(task.pull_request.state, "merged");
    assert_int_equal(task.pull_request.checked_ms, 99);
    task_release(&task);
    struct outbox read;
    bool exists;
    ok(store_outbox_get(f->store, a, &read, &exists, &why));
    assert_true(exists);
    assert_int_equal(read.step, OUTBOX_PUSH);
    assert_int_equal(read.fault.kind, FAULT_USER);
    assert_string_equal(read.branch, "feat/x");
    outbox_release(&read);
    ok(store_baseline_get(f->store, &key, &result, &why));
    assert_true(result.known && result.status == TEST_FAILED);
    test_result_release(&result);
    struct store_baseline_key other = {"/repo", "0123", "make", "host"};
    ok(store_baseline_get(f->store, &other, &result, &why));
    assert_false(result.known);
}

static void results_of_tests_are_kept(void **state)
{
    struct fixture *f = *state;
    ok(store_begin(f->store, STORE_NOW, &why));
    int64_t n = add_task(f->store, 0, NULL);
    struct test_result result = {
        .known = true, .passed = 5, .failed = -1, .skipped = 0, .tests = (char *)"list"};
    ok(store_test_set(f->store, n, STORE_TEST_VERIFICATION, &result, &why));
    struct test_changes changes = {.compared = true};
    test_change_names_add(&changes.of[TEST_FLAKY], "a");
    test_change_names_add(&changes.of[TEST_FLAKY], "b c");
    ok(store_test_changes_set(f->store, n, &changes, &why));
    ok(store_commit(f->store, &why));
    struct task task;
    ok(store_task_load(f->store, n, &task, &why));
    assert_int_equal(task.verification.passed, 5);
    assert_int_equal(task.verification.failed, -1);
    assert_null(task.verification.tests);
    assert_true(task.changes.compared);
    assert_int_equal(task.changes.of[TEST_FLAKY].total, 2);
    assert_int_equal(task.changes.of[TEST_FLAKY].shown, 2);
    assert_string_equal(task.changes.of[TEST_FLAKY].names, "a\nb c\n");
    assert_int_equal(task.changes.of[TEST_REMOVED].total, 0);
    task_release(&task);
    test_changes_release(&changes);
    /* the next verification could not be compared */
    ok(store_begin(f->store, STORE_NOW, &why));
    ok(store_test_changes_set(f->store, n, &changes, &why));
    ok(store_commit(f->store, &why));
    ok(store_task_load(f->store, n, &task, &why));
    assert_false(task.changes.compared);
    task_release(&task);
}

static void only_the_youngest_baselines_are_kept(void **state)
{
    struct fixture *f = *state;
    struct test_result result = {.known = true, .tests = (char *)"list"};
    char commit[32];
    struct store_baseline_key key = {"/repo", commit, NULL, "host"};
    for (int i = 0; i < STORE_BASELINES_MAX + 10; i++) {
        snprintf(commit, sizeof commit, "%d", i);
        ok(store_begin(f->store, STORE_LATER, &why));
        ok(store_baseline_set(f->store, &key, &result, &why));
        ok(store_commit(f->store, &why));
        usleep(1100); /* each is younger by what the clock tells */
    }
    struct test_result read;
    ok(store_baseline_get(f->store, &key, &read, &why));
    assert_true(read.known);
    assert_string_equal(read.tests, "list");
    test_result_release(&read);
    snprintf(commit, sizeof commit, "%d", 3);
    ok(store_baseline_get(f->store, &key, &read, &why));
    assert_false(read.known);
    snprintf(commit, sizeof commit, "%d", 10);
    ok(store_baseline_get(f->store, &key, &read, &why));
    assert_true(read.known);
    test_result_release(&read);
}

/* What an earlier codexd has written is still there, but for baselines without their tests. */
static void the_first_schema_is_brought_up_to_date(void **state)
{
    struct fixture *f = *state;
    store_close(f->store);
    assert_int_equal(unlink(f->path), 0);
    AUTO_BUF struct buf schema;
    buf_init(&schema, 1 << 20);
    AUTO_FD int fd = open(SCHEMA_DIR "/001.sql", O_RDONLY | O_CLOEXEC);
    ok(io_read_all(fd, &schema, &why));
    buf_append_str(
        &schema,
        "PRAGMA user_version = 1;"
        "INSERT INTO task (number, id, uid, state, prompt, repo, base, base_commit, model, "
        "provider, effort, timeout_ms, created_ms, updated_ms) VALUES (1, 'task-old001', 1000, "
        "'completed', 'p', '/repo', 'main', '0123', 'm', 'p', 'high', 1, 1, 1);"
        "INSERT INTO test_result (task, kind, status, command, exit_code, duration_ms) VALUES (1, "
        "'verification', 0, 'make', 0, 5);"
        "INSERT INTO baseline (repo, base_commit, test_command, environment, status, exit_code, "
        "duration_ms, created_ms) VALUES ('/repo', '0123', '', 'host', 0, 0, 5, 1);");
    sqlite3 *db;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, schema.data, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    f->store = store_open(f->path, &why);
    assert_non_null(f->store);
    struct task task;
    ok(store_task_get(f->store, "task-old001", &task, &why));
    assert_string_equal(task.verification.command, "make");
    assert_int_equal(task.verification.passed, -1);
    assert_false(task.changes.compared);
    task_release(&task);
    struct test_result result;
    struct store_baseline_key key = {"/repo", "0123", NULL, "host"};
    ok(store_baseline_get(f->store, &key, &result, &why));
    assert_false(result.known);
}

static void a_foreign_or_newer_file_is_refused(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    store_close(f->store);
    f->store = NULL;
    sqlite3 *db;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL);
    sqlite3_close(db);
    assert_null(store_open(f->path, &err));
    assert_non_null(strstr(err.message, "written by a newer codexd (schema 99"));
    FILE *file = fopen(f->path, "w");
    for (int i = 0; i < 1000; i++)
        fputs("this is no database\n", file);
    fclose(file);
    assert_null(store_open(f->path, &err));
    assert_int_equal(err.code, -EBADMSG);
    assert_null(store_open("/nonexistent/codex.db", &err));
    assert_non_null(strstr(err.message, "cannot open the store '/nonexistent/codex.db'"));
}

/* On a file system of 400 KiB in a mount namespace of its own. Returns 0 when all was as it should
 * be. */
static int fill_a_disk(struct fixture *f)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", f->dir, "tmpfs", 0, "size=400k") < 0)
        return 77;
    struct store *store = store_open(f->path, &why);
    struct err err = {0};
    int added = 0, status = store ? 0 : why.code;
    while (status == 0 && added < 10000) {
        status = store_begin(store, STORE_NOW, &err);
        if (status < 0)
            break;
        add_task(store, 0, NULL);
        status = store_commit(store, &err);
        added += status == 0;
    }
    if (status != -ENOSPC || !strstr(err.message, "no space left") || !added)
        return 1;
    if (mount("tmpfs", f->dir, "tmpfs", MS_REMOUNT, "size=8m") < 0)
        return 2;
    if (store_begin(store, STORE_NOW, &why) < 0 || add_task(store, 0, NULL) != added + 1 ||
        store_commit(store, &why) < 0)
        return 3;
    struct seen seen = {0};
    struct store_list all = {.uid = -1, .limit = 20000};
    if (store_task_list(store, &all, see_task_quietly, &seen, &why) < 0 || seen.count != added + 1)
        return 4;
    store_close(store);
    return 0;
}

static void a_full_disk_is_told_and_survived(void **state)
{
    struct fixture *f = *state;
    pid_t pid = fork();
    if (pid == 0)
        _exit(fill_a_disk(f));
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip(); /* no right to mount */
    assert_int_equal(status, 0);
}

int main(void)
{
#define with_store(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        with_store(a_task_is_kept_as_it_was_asked),
        with_store(the_queue_is_by_priority_then_age),
        with_store(lists_are_newest_first_and_paged),
        with_store(only_allowed_moves_with_the_current_fence),
        with_store(the_verdict_stays_with_the_task),
        with_store(nothing_of_a_rolled_back_transaction_stays),
        with_store(refused_addresses_are_summed_up),
        with_store(evidence_outbox_and_pull_request),
        with_store(results_of_tests_are_kept),
        with_store(only_the_youngest_baselines_are_kept),
        with_store(the_first_schema_is_brought_up_to_date),
        with_store(a_foreign_or_newer_file_is_refused),
        with_store(a_full_disk_is_told_and_survived),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
