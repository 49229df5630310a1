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
    };
}

int store_read_evidence(struct store *store, struct task *task, struct err *err)
{
    struct sql *sql = store_reading(store);
    AUTO_QUERY sqlite3_stmt *row =
        sql_query(sql, err,
                  "SELECT kind, status, command, found, exit_code, duration_ms, output_tail "
                  "FROM test_result WHERE task = ?",
                  SQL_INT(task->number));
    int more = row ? sql_step(sql, row, err) : sql_failed(err);
    for (; more > 0; more = sql_step(sql, row, err)) {
        const char *kind = (const char *)sqlite3_column_text(row, 0);
        bool baseline = !strcmp(kind, kinds[STORE_TEST_BASELINE]);
        store_read_test(row, 1, baseline ? &task->baseline : &task->verification);
    }
    return more;
}

int store_test_set(struct store *store, int64_t number, enum store_test which,
                   const struct test_result *result, struct err *err)
{
    return sql_exec(store_writing(store), err,
                    "INSERT OR REPLACE INTO test_result (task, kind, status, command, found, "
                    "exit_code, duration_ms, output_tail) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    SQL_INT(number), SQL_TEXT(kinds[which]), SQL_INT(result->status),
                    SQL_TEXT(result->command), SQL_TEXT(result->found), SQL_INT(result->exit_code),
                    SQL_INT(result->duration_ms), SQL_TEXT(result->output_tail));
}

int store_baseline_get(struct store *store, const struct store_baseline_key *key,
                       struct test_result *result, struct err *err)
{
    struct sql *sql = store_reading(store);
    *result = (struct test_result){0};
    AUTO_QUERY sqlite3_stmt *row = sql_query(
        sql, err,
        "SELECT status, command, found, exit_code, duration_ms, output_tail FROM baseline "
        "WHERE repo = ? AND base_commit = ? AND test_command = ? AND environment = ?",
        SQL_TEXT(key->repo), SQL_TEXT(key->base_commit),
        SQL_TEXT(key->test_command ? key->test_command : ""), SQL_TEXT(key->environment));
    int more = row ? sql_step(sql, row, err) : sql_failed(err);
    if (more > 0)
        store_read_test(row, 0, result);
    return more < 0 ? more : 0;
}

int store_baseline_set(struct store *store, const struct store_baseline_key *key,
                       const struct test_result *result, struct err *err)
{
    return sql_exec(
        store_writing(store), err,
        "INSERT OR REPLACE INTO baseline (repo, base_commit, test_command, environment, "
        "status, command, found, exit_code, duration_ms, output_tail, created_ms) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        SQL_TEXT(key->repo), SQL_TEXT(key->base_commit),
        SQL_TEXT(key->test_command ? key->test_command : ""), SQL_TEXT(key->environment),
        SQL_INT(result->status), SQL_TEXT(result->command), SQL_TEXT(result->found),
        SQL_INT(result->exit_code), SQL_INT(result->duration_ms), SQL_TEXT(result->output_tail),
        SQL_INT(clock_real_ms()));
}
