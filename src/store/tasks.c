#include "store/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"

#define TASK_COLUMNS                                                                               \
    "number, id, uid, state, turn, attempt, run, priority, prompt, repo, base, base_commit, "      \
    "branch_wanted, test_command, setup_command, model, provider, effort, budget_tokens, "         \
    "timeout_ms, base_known, forge, limit_memory, limit_cpus, limit_pids, limit_disk, phase, "     \
    "round, activity, title, body, branch_offered, work_commit, work_run, branch, verdict, "       \
    "fault_kind, fault_step, fault_message, archive_path, archive_sha256, archive_size, "          \
    "input_tokens, cached_input_tokens, output_tokens, reasoning_output_tokens, "                  \
    "branch_number, moved_commit, moved_behind, moved_conflicts, "                                 \
    "setup_failure, limits_hit, prepared, cancel_requested, crashes, created_ms, started_ms, ended_ms, updated_ms, last_seq"

/* What was asked: the columns number to limit_disk. */
static int read_request(sqlite3_stmt *row, struct task *t, int *column, struct err *err)
{
    int c = 0;
    t->number = sqlite3_column_int64(row, c++);
    snprintf(t->id, sizeof t->id, "%s", (const char *)sqlite3_column_text(row, c++));
    t->uid = (uint32_t)sqlite3_column_int64(row, c++);
    const char *state = (const char *)sqlite3_column_text(row, c++);
    if (task_state_parse(state, &t->state) < 0)
        return err_set(err, -EBADMSG, "the store is damaged: task %s has the state '%s'", t->id,
                       state);
    t->turn = (uint32_t)sqlite3_column_int64(row, c++);
    t->attempt = (uint32_t)sqlite3_column_int64(row, c++);
    t->run = (uint32_t)sqlite3_column_int64(row, c++);
    t->priority = sqlite3_column_int64(row, c++);
    t->prompt = sql_text(row, c++);
    t->repo = sql_text(row, c++);
    t->base = sql_text(row, c++);
    t->base_commit = sql_text(row, c++);
    t->branch_wanted = sql_text(row, c++);
    t->test_command = sql_text(row, c++);
    t->setup_command = sql_text(row, c++);
    t->model = sql_text(row, c++);
    t->provider = sql_text(row, c++);
    t->effort = sql_text(row, c++);
    t->budget_tokens = sqlite3_column_int64(row, c++);
    t->timeout_ms = sqlite3_column_int64(row, c++);
    t->base_known = sql_text(row, c++);
    t->forge = sql_text(row, c++);
    for (enum task_limit i = 0; i < TASK_LIMIT_COUNT; i++) /* the columns are in its order */
        t->limits.of[i] = sqlite3_column_int64(row, c++);
    *column = c;
    return 0;
}

/* What came of it: the columns from phase on. */
static void read_course(sqlite3_stmt *row, struct task *t, int c)
{
    t->phase = sql_text(row, c++);
    t->round = sqlite3_column_int64(row, c++);
    t->activity = sql_text(row, c++);
    t->title = sql_text(row, c++);
    t->body = sql_text(row, c++);
    t->branch_offered = sql_text(row, c++);
    t->commit = sql_text(row, c++);
    t->work_run = (uint32_t)sqlite3_column_int64(row, c++);
    t->branch = sql_text(row, c++);
    t->verdict = verdict_parse((const char *)sqlite3_column_text(row, c++));
    t->fault.kind = fault_kind_parse((const char *)sqlite3_column_text(row, c++));
    t->fault.step = sql_text(row, c++);
    t->fault.message = sql_text(row, c++);
    t->archive_path = sql_text(row, c++);
    t->archive_sha256 = sql_text(row, c++);
    t->archive_size = sqlite3_column_int64(row, c++);
    t->usage.input_tokens = sqlite3_column_int64(row, c++);
    t->usage.cached_input_tokens = sqlite3_column_int64(row, c++);
    t->usage.output_tokens = sqlite3_column_int64(row, c++);
    t->usage.reasoning_output_tokens = sqlite3_column_int64(row, c++);
    t->branch_number = sqlite3_column_int64(row, c++);
    t->base_moved.commit = sql_text(row, c++);
    t->base_moved.behind = sqlite3_column_int64(row, c++);
    t->base_moved.conflicts = sqlite3_column_int(row, c++);
    t->setup_failure = sql_text(row, c++);
    t->limits_hit = sql_text(row, c++);
    t->prepared = sqlite3_column_int(row, c++);
    t->cancel_requested = sqlite3_column_int(row, c++);
    t->crashes = sqlite3_column_int64(row, c++);
    t->created_ms = sqlite3_column_int64(row, c++);
    t->started_ms = sqlite3_column_int64(row, c++);
    t->ended_ms = sqlite3_column_int64(row, c++);
    t->updated_ms = sqlite3_column_int64(row, c++);
    t->last_seq = sqlite3_column_int64(row, c++);
}

/* Why a queued task waits, in words. */
static int explain_waiting(struct store *store, struct task *task, struct err *err)
{
    if (task->state != TASK_QUEUED)
        return 0;
    int64_t ahead =
        sql_number(store_reading(store), err, 0,
                   "SELECT count(*) FROM task WHERE state = 'queued' AND "
                   "(priority > ? OR (priority = ? AND number < ?))",
                   SQL_INT(task->priority), SQL_INT(task->priority), SQL_INT(task->number));
    if (ahead < 0)
        return (int)ahead;
    task->waiting_for = ahead == 0   ? str_dup("a free slot")
                        : ahead == 1 ? str_dup("1 task ahead")
                                     : str_format("%lld tasks ahead", (long long)ahead);
    return 0;
}

/* A whole task from ROW. Released again when it fails. */
static int read_task(struct store *store, sqlite3_stmt *row, struct task *out, struct err *err)
{
    int column = 0;
    *out = (struct task){0};
    int status = read_request(row, out, &column, err);
    if (status == 0) {
        read_course(row, out, column);
        status = store_read_evidence(store, out, err);
    }
    if (status == 0)
        status = store_read_pull_request(store, out, err);
    if (status == 0)
        status = explain_waiting(store, out, err);
    if (status < 0)
        task_release(out);
    return status;
}

static int read_one(struct store *store, sqlite3_stmt *row, struct task *out, const char *name,
                    struct err *err)
{
    int more = row ? sql_step(store_reading(store), row, err) : sql_failed(err);
    if (more < 0)
        return more;
    if (!more)
        return err_set(err, ERR_NOT_FOUND, "there is no task '%s'", name);
    return read_task(store, row, out, err);
}

int store_task_get(struct store *store, const char *id, struct task *out, struct err *err)
{
    AUTO_QUERY sqlite3_stmt *row = sql_query(
        store_reading(store), err, "SELECT " TASK_COLUMNS " FROM task WHERE id = ?", SQL_TEXT(id));
    return read_one(store, row, out, id, err);
}

int store_task_load(struct store *store, int64_t number, struct task *out, struct err *err)
{
    AUTO_QUERY sqlite3_stmt *row =
        sql_query(store_reading(store), err, "SELECT " TASK_COLUMNS " FROM task WHERE number = ?",
                  SQL_INT(number));
    char name[24];
    snprintf(name, sizeof name, "%lld", (long long)number);
    return read_one(store, row, out, name, err);
}

int store_task_list(struct store *store, const struct store_list *list, store_visit_fn *visit,
                    void *arg, struct err *err)
{
    struct sql *sql = store_reading(store);
    int64_t before = INT64_MAX;
    if (list->before) {
        before =
            sql_number(sql, err, 0, "SELECT number FROM task WHERE id = ?", SQL_TEXT(list->before));
        if (before < 0)
            return (int)before;
        if (!before)
            return err_set(err, ERR_NOT_FOUND, "there is no task '%s'", list->before);
    }
    AUTO_QUERY sqlite3_stmt *row =
        sql_query(sql, err,
                  "SELECT " TASK_COLUMNS " FROM task WHERE number < ? AND (? < 0 OR uid = ?) AND "
                  "(? = 0 OR state NOT IN ('completed', 'failed', 'cancelled')) "
                  "ORDER BY number DESC LIMIT ?",
                  SQL_INT(before), SQL_INT(list->uid), SQL_INT(list->uid), SQL_INT(list->active),
                  SQL_INT(list->limit));
    int more = row ? sql_step(sql, row, err) : sql_failed(err);
    for (; more > 0; more = sql_step(sql, row, err)) {
        struct task task;
        int status = read_task(store, row, &task, err);
        if (status < 0)
            return status;
        bool go_on = visit(arg, &task);
        task_release(&task);
        if (!go_on)
            return 0;
    }
    return more;
}

int store_task_add(struct store *store, struct task *t, struct err *err)
{
    int64_t now = clock_real_ms();
    int status = sql_exec(
        store_writing(store), err,
        "INSERT INTO task (id, uid, state, priority, prompt, repo, base, base_commit, "
        "branch_wanted, test_command, setup_command, model, provider, effort, budget_tokens, "
        "timeout_ms, base_known, forge, limit_memory, limit_cpus, limit_pids, limit_disk, "
        "created_ms, updated_ms) "
        "VALUES (?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        SQL_TEXT(t->id), SQL_INT(t->uid), SQL_INT(t->priority), SQL_TEXT(t->prompt),
        SQL_TEXT(t->repo), SQL_TEXT(t->base), SQL_TEXT(t->base_commit), SQL_TEXT(t->branch_wanted),
        SQL_TEXT(t->test_command), SQL_TEXT(t->setup_command), SQL_TEXT(t->model),
        SQL_TEXT(t->provider), SQL_TEXT(t->effort), SQL_INT(t->budget_tokens),
        SQL_INT(t->timeout_ms), SQL_TEXT(t->base_known), SQL_TEXT(t->forge),
        SQL_INT(t->limits.of[TASK_LIMIT_MEMORY]), SQL_INT(t->limits.of[TASK_LIMIT_CPUS]),
        SQL_INT(t->limits.of[TASK_LIMIT_PIDS]), SQL_INT(t->limits.of[TASK_LIMIT_DISK]),
        SQL_INT(now), SQL_INT(now));
    if (status < 0)
        return status;
    t->number = sqlite3_last_insert_rowid(store->writer.db);
    struct store_event event = {
        .number = t->number,
        .type = "task.state",
        .members = ",\"state\":\"queued\",\"from\":null,\"reason\":null,\"fault\":null,"
                   "\"verdict\":null"};
    return store_event_add(store, &event, err);
}

/* What the query TEXT says, whose one parameter is MAX. */
static int read_numbers(struct store *store, const char *text, int64_t *numbers, int max,
                        struct err *err)
{
    struct sql *sql = store_reading(store);
    AUTO_QUERY sqlite3_stmt *row = sql_query(sql, err, text, SQL_INT(max));
    int more = row ? sql_step(sql, row, err) : sql_failed(err);
    int count = 0;
    for (; more > 0; more = sql_step(sql, row, err))
        numbers[count++] = sqlite3_column_int64(row, 0);
    return more < 0 ? more : count;
}

int store_tasks_under_way(struct store *store, int64_t *numbers, int max, struct err *err)
{
    return read_numbers(store,
                        "SELECT number FROM task WHERE state IN ('preparing', 'baseline', "
                        "'working', 'verifying', 'delivering') ORDER BY number LIMIT ?",
                        numbers, max, err);
}

int store_tasks_ended_last(struct store *store, int64_t *numbers, int max, struct err *err)
{
    return read_numbers(store,
                        "SELECT number FROM task WHERE state IN ('completed', 'failed', "
                        "'cancelled') ORDER BY ended_ms DESC LIMIT ?",
                        numbers, max, err);
}

int64_t store_count_queued(struct store *store, uint32_t uid, struct err *err)
{
    return sql_number(store_reading(store), err, 0,
                      "SELECT count(*) FROM task WHERE state = 'queued' AND uid = ?", SQL_INT(uid));
}

int64_t store_queue_head(struct store *store, struct err *err)
{
    return sql_number(store_reading(store), err, 0,
                      "SELECT number FROM task WHERE state = 'queued' "
                      "ORDER BY priority DESC, number LIMIT 1");
}

int store_task_set_work(struct store *store, int64_t number, const struct store_work *work,
                        struct err *err)
{
    return sql_exec(store_writing(store), err,
                    "UPDATE task SET work_commit = ?, work_run = ?, title = ?, body = ?, "
                    "branch_offered = ? WHERE number = ?",
                    SQL_TEXT(work->commit), SQL_INT(work->run), SQL_TEXT(work->title),
                    SQL_TEXT(work->body), SQL_TEXT(work->branch), SQL_INT(number));
}

int store_task_set_phase(struct store *store, int64_t number, const char *phase, int64_t round,
                         struct err *err)
{
    return sql_exec(store_writing(store), err,
                    "UPDATE task SET phase = ?, round = ?, activity = NULL WHERE number = ?",
                    SQL_TEXT(phase), SQL_INT(round), SQL_INT(number));
}

int store_task_set_prepared(struct store *store, int64_t number, struct err *err)
{
    return sql_exec(store_writing(store), err, "UPDATE task SET prepared = 1 WHERE number = ?",
                    SQL_INT(number));
}

int store_task_set_activity(struct store *store, int64_t number, const char *activity,
                            struct err *err)
{
    return sql_exec(store_writing(store), err, "UPDATE task SET activity = ? WHERE number = ?",
                    SQL_TEXT(activity), SQL_INT(number));
}

int store_task_set_setup_failure(struct store *store, int64_t number, const char *why,
                                 struct err *err)
{
    return sql_exec(store_writing(store), err, "UPDATE task SET setup_failure = ? WHERE number = ?",
                    SQL_TEXT(why), SQL_INT(number));
}

int store_task_add_limit_hit(struct store *store, int64_t number, const char *limit,
                             struct err *err)
{
    return sql_exec(store_writing(store), err,
                    "UPDATE task SET limits_hit = limits_hit || "
                    "CASE limits_hit WHEN '' THEN '' ELSE ',' END || ? "
                    "WHERE number = ? AND instr(',' || limits_hit || ',', ',' || ? || ',') = 0",
                    SQL_TEXT(limit), SQL_INT(number), SQL_TEXT(limit));
}

int store_task_add_usage(struct store *store, int64_t number, const struct token_usage *usage,
                         struct err *err)
{
    return sql_exec(store_writing(store), err,
                    "UPDATE task SET input_tokens = input_tokens + ?, "
                    "cached_input_tokens = cached_input_tokens + ?, "
                    "output_tokens = output_tokens + ?, "
                    "reasoning_output_tokens = reasoning_output_tokens + ? WHERE number = ?",
                    SQL_INT(usage->input_tokens), SQL_INT(usage->cached_input_tokens),
                    SQL_INT(usage->output_tokens), SQL_INT(usage->reasoning_output_tokens),
                    SQL_INT(number));
}

int store_task_set_archive(struct store *store, int64_t number, const char *path,
                           const char *sha256, int64_t size_bytes, struct err *err)
{
    return sql_exec(store_writing(store), err,
                    "UPDATE task SET archive_path = ?, archive_sha256 = ?, archive_size = ? "
                    "WHERE number = ?",
                    SQL_TEXT(path), SQL_TEXT(sha256), SQL_INT(size_bytes), SQL_INT(number));
}

int store_task_set_branch(struct store *store, int64_t number, const char *branch, struct err *err)
{
    return sql_exec(store_writing(store), err, "UPDATE task SET branch = ? WHERE number = ?",
                    SQL_TEXT(branch), SQL_INT(number));
}

int store_task_set_branch_number(struct store *store, int64_t number, int64_t branch_number,
                                 struct err *err)
{
    return sql_exec(store_writing(store), err, "UPDATE task SET branch_number = ? WHERE number = ?",
                    SQL_INT(branch_number), SQL_INT(number));
}

int store_task_set_base_moved(struct store *store, int64_t number, const struct base_moved *moved,
                              struct err *err)
{
    return sql_exec(store_writing(store), err,
                    "UPDATE task SET moved_commit = ?, moved_behind = ?, moved_conflicts = ? "
                    "WHERE number = ?",
                    SQL_TEXT(moved->commit), SQL_INT(moved->behind), SQL_INT(moved->conflicts),
                    SQL_INT(number));
}

int store_task_request_cancel(struct store *store, int64_t number, struct err *err)
{
    return sql_exec(store_writing(store), err,
                    "UPDATE task SET cancel_requested = 1 WHERE number = ?", SQL_INT(number));
}

int store_task_set_crashes(struct store *store, int64_t number, int64_t crashes, struct err *err)
{
    return sql_exec(store_writing(store), err, "UPDATE task SET crashes = ? WHERE number = ?",
                    SQL_INT(crashes), SQL_INT(number));
}
