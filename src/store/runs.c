#include "store/internal.h"

#include "base/clock.h"

int store_run_add(struct store *store, int64_t number, struct err *err)
{
    int64_t run =
        sql_number(store_writing(store), err, 0,
                   "UPDATE task SET run = run + 1 WHERE number = ? RETURNING run", SQL_INT(number));
    if (run <= 0)
        return run < 0
                   ? (int)run
                   : err_set(err, ERR_NOT_FOUND, "there is no task number %lld", (long long)number);
    int status = sql_exec(store_writing(store), err,
                          "INSERT INTO run (task, run, created_ms) VALUES (?, ?, ?)",
                          SQL_INT(number), SQL_INT(run), SQL_INT(clock_real_ms()));
    return status < 0 ? status : (int)run;
}

int store_run_get(struct store *store, int64_t number, struct store_run *out, struct err *err)
{
    struct sql *sql = store_reading(store);
    AUTO_QUERY sqlite3_stmt *row =
        sql_query(sql, err,
                  "SELECT run, spawned_ms, ended_ms, events_offset, progress, outcome FROM run "
                  "WHERE task = ? ORDER BY run DESC LIMIT 1",
                  SQL_INT(number));
    int more = row ? sql_step(sql, row, err) : sql_failed(err);
    if (more < 0)
        return more;
    if (!more)
        return err_set(err, ERR_NOT_FOUND, "task number %lld has no run", (long long)number);
    *out = (struct store_run){
        .run = (uint32_t)sqlite3_column_int64(row, 0),
        .spawned_ms = sqlite3_column_int64(row, 1),
        .ended_ms = sqlite3_column_int64(row, 2),
        .events_offset = sqlite3_column_int64(row, 3),
        .progress = sqlite3_column_int(row, 4),
        .outcome = run_outcome_parse((const char *)sqlite3_column_text(row, 5)),
    };
    return 0;
}

int store_run_set_spawned(struct store *store, int64_t number, uint32_t run, struct err *err)
{
    return sql_exec(store_writing(store), err,
                    "UPDATE run SET spawned_ms = ? WHERE task = ? AND run = ?",
                    SQL_INT(clock_real_ms()), SQL_INT(number), SQL_INT(run));
}

int store_run_set_offset(struct store *store, int64_t number, uint32_t run, int64_t offset,
                         bool progress, struct err *err)
{
    return sql_exec(store_writing(store), err,
                    "UPDATE run SET events_offset = ?, progress = max(progress, ?) "
                    "WHERE task = ? AND run = ?",
                    SQL_INT(offset), SQL_INT(progress), SQL_INT(number), SQL_INT(run));
}

int store_run_end(struct store *store, int64_t number, uint32_t run, enum run_outcome outcome,
                  struct err *err)
{
    const char *name = outcome < RUN_OUTCOME_COUNT ? run_outcome_name(outcome) : NULL;
    return sql_exec(store_writing(store), err,
                    "UPDATE run SET ended_ms = ?, outcome = ? WHERE task = ? AND run = ?",
                    SQL_INT(clock_real_ms()), SQL_TEXT(name), SQL_INT(number), SQL_INT(run));
}

int64_t store_runs_used_ms(struct store *store, int64_t number, struct err *err)
{
    return sql_number(store_reading(store), err, 0,
                      "SELECT coalesce(sum(ended_ms - spawned_ms), 0) FROM run "
                      "WHERE task = ? AND spawned_ms > 0 AND ended_ms > spawned_ms",
                      SQL_INT(number));
}
