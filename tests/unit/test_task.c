#include "test.h"

#include <errno.h>
#include <jansson.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "task/exit.h"
#include "task/id.h"
#include "task/state.h"
#include "task/task.h"
#include "task/verdict.h"

static void ids_are_new_and_checked(void **state)
{
    char a[TASK_ID_SIZE], b[TASK_ID_SIZE];
    task_id_new(a);
    task_id_new(b);
    assert_true(task_id_valid(a) && task_id_valid(b));
    assert_string_not_equal(a, b);
    assert_true(task_id_valid("task-abc123"));
    assert_true(task_id_valid("task-abcdefgh12345678"));
    static const char *const bad[] = {"",
                                      "task-",
                                      "task-abc12",
                                      "Task-abc123",
                                      "task-ABC123",
                                      "task-abc123/",
                                      "task-../../x",
                                      "task-abc123 ",
                                      "task-abcdefgh123456789"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(task_id_valid(bad[i]));
}

/* Every pair, written down a second time and in another form: 1 where the move is allowed. */
static void every_pair_of_states(void **state)
{
    static const char *const allowed[TASK_STATE_COUNT] = {
        /* to:              Q P B W V D K C F X */
        [TASK_QUEUED] = "    0 1 0 0 0 0 0 0 1 1", [TASK_PREPARING] = " 0 0 1 1 1 1 1 1 1 1",
        [TASK_BASELINE] = "  0 1 0 1 0 1 1 1 1 1", [TASK_WORKING] = "   0 1 0 0 1 1 1 1 1 1",
        [TASK_VERIFYING] = " 0 1 0 1 0 1 1 1 1 1", [TASK_DELIVERING] = "0 0 0 0 0 0 0 1 1 1",
        [TASK_PARKED] = "    1 0 0 0 0 0 0 0 1 1", [TASK_COMPLETED] = " 0 0 0 0 0 0 0 0 0 0",
        [TASK_FAILED] = "    0 0 0 0 0 1 0 0 0 0", [TASK_CANCELLED] = " 0 0 0 0 0 0 0 0 0 0",
    };
    for (unsigned from = 0; from < TASK_STATE_COUNT; from++) {
        const char *row = allowed[from] + strspn(allowed[from], " ");
        for (unsigned to = 0; to < TASK_STATE_COUNT; to++)
            if (task_state_may_move(from, to) != (row[to * 2] == '1'))
                fail_msg("%s to %s", task_state_name(from), task_state_name(to));
    }
    assert_false(task_state_may_move(TASK_STATE_COUNT, TASK_FAILED));
    assert_false(task_state_may_move(TASK_QUEUED, TASK_STATE_COUNT));
}

static void no_state_is_a_trap(void **state)
{
    for (unsigned s = 0; s < TASK_STATE_COUNT; s++) {
        bool reached[TASK_STATE_COUNT] = {false};
        reached[s] = true;
        for (int step = 0; step < TASK_STATE_COUNT; step++)
            for (unsigned from = 0; from < TASK_STATE_COUNT; from++)
                for (unsigned to = 0; reached[from] && to < TASK_STATE_COUNT; to++)
                    reached[to] |= task_state_may_move(from, to);
        if (task_state_ended(s))
            continue;
        assert_true(reached[TASK_COMPLETED] && reached[TASK_FAILED] && reached[TASK_CANCELLED]);
        assert_true(task_state_may_move(s, TASK_FAILED));
        assert_true(task_state_may_move(s, TASK_CANCELLED));
    }
}

static void states_have_names(void **state)
{
    for (unsigned s = 0; s < TASK_STATE_COUNT; s++) {
        enum task_state parsed;
        assert_int_equal(task_state_parse(task_state_name(s), &parsed), 0);
        assert_int_equal(parsed, s);
    }
    enum task_state parsed;
    assert_int_equal(task_state_parse("paused", &parsed), -EINVAL);
    assert_true(task_state_running(TASK_BASELINE) && !task_state_running(TASK_DELIVERING));
    assert_true(task_state_of_phase(PHASE_VERIFYING, &parsed) && parsed == TASK_VERIFYING);
    assert_false(task_state_of_phase(PHASE_FINISHING, &parsed));
    assert_false(task_state_of_phase(99, &parsed));
    assert_int_equal(phase_parse("finishing"), PHASE_FINISHING);
    assert_int_equal(phase_parse("x"), PHASE_COUNT);
    assert_int_equal(fault_kind_parse("limit"), FAULT_LIMIT);
    assert_int_equal(fault_kind_parse(NULL), FAULT_NONE);
    assert_int_equal(fault_kind_parse("x"), FAULT_COUNT);
    assert_int_equal(run_outcome_parse("cancelled"), RUN_CANCELLED);
    assert_int_equal(run_outcome_parse(NULL), RUN_OUTCOME_COUNT);
}

/* Rows: the baseline's status; columns: the verification's. -1: it did not run. */
static void the_verdict_table(void **state)
{
    static const int statuses[] = {-1, TEST_PASSED, TEST_FAILED, TEST_NOT_FOUND, TEST_TIMED_OUT, 2};
    static const enum verdict table[6][6] = {
        /* verification:  not run    passed          failed            none              timed out
           broken */
        /* not run   */ {VERDICT_NONE, VERDICT_PASSED, VERDICT_FAILED, VERDICT_NO_TESTS,
                         VERDICT_FAILED, VERDICT_NONE},
        /* passed    */
        {VERDICT_NONE, VERDICT_PASSED, VERDICT_FAILED, VERDICT_NO_TESTS, VERDICT_FAILED,
         VERDICT_NONE},
        /* failed    */
        {VERDICT_NONE, VERDICT_PASSED, VERDICT_UNPROVEN, VERDICT_NO_TESTS, VERDICT_UNPROVEN,
         VERDICT_NONE},
        /* none      */
        {VERDICT_NONE, VERDICT_PASSED, VERDICT_FAILED, VERDICT_NO_TESTS, VERDICT_FAILED,
         VERDICT_NONE},
        /* timed out */
        {VERDICT_NONE, VERDICT_PASSED, VERDICT_UNPROVEN, VERDICT_NO_TESTS, VERDICT_UNPROVEN,
         VERDICT_NONE},
        /* broken    */
        {VERDICT_NONE, VERDICT_PASSED, VERDICT_FAILED, VERDICT_NO_TESTS, VERDICT_FAILED,
         VERDICT_NONE},
    };
    for (int b = 0; b < 6; b++)
        for (int v = 0; v < 6; v++) {
            struct test_result baseline = {.known = statuses[b] >= 0, .status = statuses[b]};
            struct test_result verification = {.known = statuses[v] >= 0, .status = statuses[v]};
            assert_int_equal(verdict_of(&baseline, &verification), table[b][v]);
        }
    for (int b = 0; b < 6;
         b++) { /* where tests could be compared, the baseline's status says less */
        struct test_result baseline = {.known = statuses[b] >= 0, .status = statuses[b]};
        struct test_result as_before = {.known = true, .status = TEST_FAILED_AS_BEFORE};
        struct test_result newly = {.known = true, .status = TEST_NEWLY_FAILED};
        assert_int_equal(verdict_of(&baseline, &as_before), VERDICT_PASSED);
        assert_int_equal(verdict_of(&baseline, &newly), VERDICT_FAILED);
    }
    struct test_changes changes = {.compared = true};
    assert_false(verdict_is_draft(VERDICT_PASSED, &changes));
    for (unsigned v = VERDICT_FAILED; v < VERDICT_COUNT; v++) {
        assert_true(verdict_is_draft(v, &changes));
        assert_int_equal(verdict_parse(verdict_name(v)), v);
    }
    static const bool drafts[TEST_CHANGE_COUNT] = {
        [TEST_REMOVED] = true, [TEST_NEWLY_SKIPPED] = true};
    for (enum test_change i = 0; i < TEST_CHANGE_COUNT; i++) {
        changes.of[i].total = 1;
        assert_int_equal(verdict_is_draft(VERDICT_PASSED, &changes), drafts[i]);
        changes.of[i].total = 0;
    }
    assert_null(verdict_name(VERDICT_UNSET));
    assert_int_equal(verdict_parse("good"), VERDICT_UNSET);
}

static json_t *to_json(const struct task *task)
{
    AUTO_BUF struct buf out;
    buf_init(&out, 1 << 20);
    assert_int_equal(task_to_json(task, &out), 0);
    json_error_t error;
    json_t *json = json_loadb(out.data, out.len, 0, &error);
    if (!json)
        fail_msg("%s in %s", error.text, out.data);
    return json;
}

static void a_new_task_as_json(void **state)
{
    struct task task = {.id = "task-abc123",
                        .turn = 1,
                        .attempt = 1,
                        .created_ms = 1763920740123,
                        .prompt = str_dup("say \"hi\"\n")};
    json_t *json = to_json(&task);
    assert_string_equal(json_string_value(json_object_get(json, "state")), "queued");
    assert_string_equal(json_string_value(json_object_get(json, "prompt")), "say \"hi\"\n");
    assert_string_equal(json_string_value(json_object_get(json, "created_at")),
                        "2025-11-23T17:59:00.123Z");
    static const char *const nulls[] = {"waiting_for", "branch",     "commit",      "fault",
                                        "verdict",     "archive",    "phase",       "activity",
                                        "ended_at",    "started_at", "pull_request"};
    for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++)
        assert_true(json_is_null(json_object_get(json, nulls[i])));
    json_t *evidence = json_object_get(json, "evidence");
    assert_true(json_is_null(json_object_get(evidence, "baseline")));
    assert_int_equal(json_array_size(json_object_get(evidence, "newly_broken")), 0);
    assert_true(json_is_false(json_object_get(evidence, "compared")));
    assert_true(json_is_null(json_object_get(json_object_get(evidence, "counts"), "newly_broken")));
    assert_int_equal(json_array_size(json_object_get(json, "attempts")), 1);
    json_decref(json);
    task_release(&task);
}

static void an_ended_task_as_json(void **state)
{
    struct task task = {
        .id = "task-abc123",
        .state = TASK_COMPLETED,
        .verdict = VERDICT_FAILED,
        .fault = {FAULT_LIMIT, str_dup("working"), str_dup("out of time")},
        .baseline = {.known = true,
                     .command = str_dup("make check"),
                     .exit_code = 0,
                     .passed = -1,
                     .failed = -1,
                     .skipped = -1},
        .verification = {.known = true,
                         .status = TEST_TIMED_OUT,
                         .exit_code = -1,
                         .passed = 3,
                         .failed = 0,
                         .skipped = 1},
        .changes = {.compared = true},
        .pull_request = {.exists = true, .forge = str_dup("plain"), .number = 3, .draft = true},
        .archive_path = str_dup("/a"),
        .archive_sha256 = str_dup("00"),
        .archive_size = 5,
    };
    test_change_names_add(&task.changes.of[TEST_NEWLY_BROKEN], "a \"b\"");
    test_change_names_add(&task.changes.of[TEST_NEWLY_BROKEN], "c");
    json_t *json = to_json(&task);
    json_t *evidence = json_object_get(json, "evidence");
    json_t *broken = json_object_get(evidence, "newly_broken");
    assert_int_equal(json_array_size(broken), 2);
    assert_string_equal(json_string_value(json_array_get(broken, 0)), "a \"b\"");
    json_t *counts = json_object_get(evidence, "counts");
    assert_int_equal(json_integer_value(json_object_get(counts, "newly_broken")), 2);
    assert_int_equal(json_integer_value(json_object_get(counts, "tests_removed")), 0);
    assert_true(json_is_true(json_object_get(evidence, "compared")));
    json_t *baseline = json_object_get(evidence, "baseline");
    assert_int_equal(json_integer_value(json_object_get(baseline, "exit_code")), 0);
    assert_true(json_is_null(json_object_get(baseline, "passed")));
    json_t *verification = json_object_get(evidence, "verification");
    assert_true(json_is_null(json_object_get(verification, "exit_code")));
    assert_int_equal(json_integer_value(json_object_get(verification, "passed")), 3);
    assert_int_equal(json_integer_value(json_object_get(verification, "skipped")), 1);
    assert_true(json_is_null(json_object_get(verification, "command")));
    assert_true(json_is_true(json_object_get(verification, "timed_out")));
    assert_true(json_is_false(json_object_get(baseline, "timed_out")));
    json_t *request = json_object_get(json, "pull_request");
    assert_true(json_is_null(json_object_get(request, "url")));
    assert_true(json_is_true(json_object_get(request, "draft")));
    json_t *workspace = json_object_get(json, "workspace");
    assert_string_equal(json_string_value(json_object_get(workspace, "state")), "archived");
    json_t *fault = json_object_get(json, "fault");
    assert_string_equal(json_string_value(json_object_get(fault, "kind")), "limit");
    json_decref(json);
    task_release(&task);
}

static void a_test_run_that_broke_is_no_evidence(void **state)
{
    struct task task = {.id = "task-abc123", .baseline = {.known = true, .status = 126}};
    json_t *json = to_json(&task);
    json_t *evidence = json_object_get(json, "evidence");
    assert_true(json_is_null(json_object_get(evidence, "baseline")));
    json_decref(json);
    task.baseline.status = TEST_NOT_FOUND;
    json = to_json(&task);
    assert_true(json_is_object(json_object_get(json_object_get(json, "evidence"), "baseline")));
    json_decref(json);
}

static void a_full_buffer_is_told(void **state)
{
    struct task task = {.id = "task-abc123"};
    AUTO_BUF struct buf whole;
    buf_init(&whole, 4096);
    assert_int_equal(task_to_json(&task, &whole), 0);
    for (size_t max = 0; max < whole.len; max++) {
        AUTO_BUF struct buf out;
        buf_init(&out, max);
        assert_true(task_to_json(&task, &out) < 0);
    }
}

static void limits_are_read_as_people_write_them(void **state)
{
    static const struct {
        enum task_limit limit;
        const char *text;
        int64_t value; /* 0: refused */
        const char *shown;
    } cases[] = {
        {TASK_LIMIT_MEMORY, "512M", 512LL << 20, "512 MiB"},
        {TASK_LIMIT_MEMORY, "4g", 4LL << 30, "4096 MiB"},
        {TASK_LIMIT_MEMORY, "63M", 0, NULL},
        {TASK_LIMIT_MEMORY, "2T", 0, NULL},
        {TASK_LIMIT_MEMORY, "9223372036854775807G", 0, NULL},
        {TASK_LIMIT_MEMORY, "", 0, NULL},
        {TASK_LIMIT_CPUS, "1.5", 1500, "1.500 cores"},
        {TASK_LIMIT_CPUS, "2", 2000, "2 cores"},
        {TASK_LIMIT_CPUS, "0", 0, NULL},
        {TASK_LIMIT_CPUS, "0.05", 0, NULL},
        {TASK_LIMIT_CPUS, "-1", 0, NULL},
        {TASK_LIMIT_PIDS, "200", 200, "200 processes"},
        {TASK_LIMIT_PIDS, "31", 0, NULL},
        {TASK_LIMIT_PIDS, "2000000", 0, NULL},
        {TASK_LIMIT_DISK, "64M", 64LL << 20, "64 MiB"},
        {TASK_LIMIT_DISK, "9T", 0, NULL},
        {TASK_LIMIT_DISK, "5 G", 0, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t value;
        struct err err;
        int status = task_limit_parse(cases[i].limit, cases[i].text, &value, &err);
        if (!cases[i].value) {
            assert_int_equal(status, ERR_USAGE);
            continue;
        }
        assert_int_equal(status, 0);
        assert_int_equal(value, cases[i].value);
        AUTO_BUF struct buf shown;
        buf_init(&shown, 64);
        task_limit_append(&shown, cases[i].limit, value);
        assert_string_equal(shown.data, cases[i].shown);
    }
}

static void limits_as_json(void **state)
{
    AUTO_BUF struct buf out;
    buf_init(&out, 8192);
    const struct task task = {.id = "task-abc123",
                              .limits.of = {[TASK_LIMIT_CPUS] = 500, [TASK_LIMIT_DISK] = 7},
                              .limits_hit = (char *)"memory,disk"};
    assert_int_equal(task_to_json(&task, &out), 0);
    assert_non_null(strstr(out.data, "\"limits\":{\"memory_bytes\":null,\"cpu_milli\":500,"
                                     "\"pids\":null,\"disk_bytes\":7},"
                                     "\"limits_hit\":[\"memory\",\"disk\"],"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_new_and_checked),
        cmocka_unit_test(every_pair_of_states),
        cmocka_unit_test(no_state_is_a_trap),
        cmocka_unit_test(states_have_names),
        cmocka_unit_test(the_verdict_table),
        cmocka_unit_test(a_new_task_as_json),
        cmocka_unit_test(an_ended_task_as_json),
        cmocka_unit_test(a_full_buffer_is_told),
        cmocka_unit_test(limits_are_read_as_people_write_them),
        cmocka_unit_test(limits_as_json),
        cmocka_unit_test(a_test_run_that_broke_is_no_evidence),
    };
    return cmocka_run_group_tests_name("task", tests, NULL, NULL);
}
