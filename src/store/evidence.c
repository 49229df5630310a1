#include "store/internal.h"

#include <string.h>

#include "base/clock.h"

static const char *const kinds[] = {
    [STORE_TEST_BASELINE] = "baseline", [STORE_TEST_VERIFICATION] = "verification"};

void store_read_test(sqlite3_stmt *row, int first, struct test_result *out)
{
    *out = (struct test_result){
        .known = true,
        .status = sqlite3_column_int(row, first),
        .command = sql_text(row, first + 1),
        .found = sql_text(row, first + 2),
        .exit_code = sqlite3_column_int64(row, first + 3),
        .duration_ms = sqlite3_column_int64(row, first + 4),
        .output_tail = sql_text(row, first + 5),
        .passed = sqlite3_column_int64(row, first + 6),
        .failed = sqlite3_column_int64(row, first + 7),
        .skipped = sqlite3_column_int64(row, first + 8),
    };
}

static size_t count_lines(const char *text)
{
    size_t n = 0;
    for (; (text = strchr(text, '\n')); text++)
        n++;
    return n;
}

/* The rows of one task: all kinds or none. */
static int read_changes(struct store *store, struct task *task, struct err *err)
{
    struct sql *sql = store_reading(store);
    AUTO_QUERY sqlite3_stmt *row =
        sql_query(sql, err, "SELECT kind, total, names FROM test_change WHERE task = ?",
                  SQL_INT(task->number));
    int more = row ? sql_step(sql, row, err) : sql_failed(err);
    for (; more > 0; more = sql_step(sql, row, err)) {
        enum test_change kind = test_change_parse((const char *)sqlite3_column_text(row, 0));
        if (kind == TEST_CHANGE_COUNT || task->changes.of[kind].names)
            continue;
        task->changes.compared = true;
        task->changes.of[kind].total = (size_t)sqlite3_column_int64(row, 1);
        task->changes.of[kind].names = sql_text(row, 2);
        task->changes.of[kind].shown = count_lines(task->changes.of[kind].names);
    }
    return more;
}

static int read_results(struct store *store, struct task *task, struct err *err)
{
    struct sql *sql = store_reading(store);
    AUTO_QUERY sqlite3_stmt *row =
        sql_query(sql, err,
                  "SELECT kind, status, command, found, exit_code, duration_ms, output_tail, "
                  "passed, failed, skipped FROM test_result WHERE task = ?",
                  SQL_INT(task->number));
    int more = row ? sql_step(sql, row, err) : sql_failed(err);
    for (; more > 0; more = sql_step(sql, row, err)) {
        const char *kind = (const char *)sqlite3_column_text(row, 0);
        bool baseline = !strcmp(kind, kinds[STORE_TEST_BASELINE]);
        store_read_test(row, 1, baseline ? &task->baseline : &task->verification);
    }
    return more;
}

int store_read_evidence(struct store *store, struct task *task, struct err *err)
{
    int status = read_results(store, task, err);
    return status < 0 ? status : read_changes(store, task, err);
}

int store_test_set(struct store *store, int64_t number, enum store_test which,
                   const struct test_result *result, struct err *err)
{
    return sql_exec(store_writing(store), err,
                    "INSERT OR REPLACE INTO test_result (task, kind, status, command, found, "
                    "exit_code, duration_ms, output_tail, passed, failed, skipped) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    SQL_INT(number), SQL_TEXT(kinds[which]), SQL_INT(result->status),
                    SQL_TEXT(result->command), SQL_TEXT(result->found), SQL_INT(result->exit_code),
                    SQL_INT(result->duration_ms), SQL_TEXT(result->output_tail),
                    SQL_INT(result->passed), SQL_INT(result->failed), SQL_INT(result->skipped));
}

int store_test_changes_set(struct store *store, int64_t number, const struct test_changes *changes,
                           struct err *err)
{
    struct sql *sql = store_writing(store);
    int status = sql_exec(sql, err, "DELETE FROM test_change WHERE task = ?", SQL_INT(number));
    for (enum test_change i = 0; status == 0 && changes->compared && i < TEST_CHANGE_COUNT; i++)
        status = sql_exec(
            sql, err, "INSERT INTO test_change (task, kind, total, names) VALUES (?, ?, ?, ?)",
            SQL_INT(number), SQL_TEXT(test_change_name(i)), SQL_INT((int64_t)changes->of[i].total),
            SQL_TEXT(changes->of[i].names ? changes->of[i].names : ""));
    return status;
}

int store_baseline_get(struct store *store, const struct store_baseline_key *key,
                       struct test_result *result, struct err *err)
{
    struct sql *sql = store_reading(store);
    *result = (struct test_result){0};
    AUTO_QUERY sqlite3_stmt *row = sql_query(
        sql, err,
        "SELECT status, command, found, exit_code, duration_ms, output_tail, passed, failed, "
        "skipped, tests FROM baseline WHERE repo = ? AND base_commit = ? AND test_command = ? AND environment = ?",
        SQL_TEXT(key->repo), SQL_TEXT(key->base_commit),
        SQL_TEXT(key->test_command ? key->test_command : ""), SQL_TEXT(key->environment));
    int more = row ? sql_step(sql, row, err) : sql_failed(err);
    if (more > 0) {
        store_read_test(row, 0, result);
        result->tests = sql_text(row, 9);
    }
    return more < 0 ? more : 0;
}

int store_baseline_set(struct store *store, const struct store_baseline_key *key,
                       const struct test_result *result, struct err *err)
{
    struct sql *sql = store_writing(store);
    int status = sql_exec(
        sql, err,
        "INSERT OR REPLACE INTO baseline (repo, base_commit, test_command, environment, "
        "status, command, found, exit_code, duration_ms, output_tail, passed, failed, skipped, "
        "tests, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        SQL_TEXT(key->repo), SQL_TEXT(key->base_commit),
        SQL_TEXT(key->test_command ? key->test_command : ""), SQL_TEXT(key->environment),
        SQL_INT(result->status), SQL_TEXT(result->command), SQL_TEXT(result->found),
        SQL_INT(result->exit_code), SQL_INT(result->duration_ms), SQL_TEXT(result->output_tail),
        SQL_INT(result->passed), SQL_INT(result->failed), SQL_INT(result->skipped),
        SQL_TEXT(result->tests), SQL_INT(clock_real_ms()));
    return status < 0 ? status
                      : sql_exec(sql, err,
                                 "DELETE FROM baseline WHERE created_ms < (SELECT created_ms FROM "
                                 "baseline ORDER BY created_ms DESC LIMIT 1 OFFSET ?)",
                                 SQL_INT(STORE_BASELINES_MAX - 1));
}
