#include "store/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static const char *const steps[OUTBOX_STEP_COUNT] = {[OUTBOX_IMPORT] = "import",
                                                     [OUTBOX_PUSH] = "push",
                                                     [OUTBOX_BASE] = "base",
                                                     [OUTBOX_PULL_REQUEST] = "pull_request"};

void outbox_release(struct outbox *row)
{
    free(row->reason);
    free(row->branch);
    fault_release(&row->fault);
    *row = (struct outbox){0};
}

static int read_step(const char *name, enum outbox_step *step)
{
    for (unsigned i = 0; i < OUTBOX_STEP_COUNT; i++) {
        if (strcmp(steps[i], name))
            continue;
        *step = i;
        return 0;
    }
    return -EINVAL;
}

int store_outbox_get(struct store *store, int64_t number, struct outbox *out, bool *exists,
                     struct err *err)
{
    struct sql *sql = store_reading(store);
    *out = (struct outbox){0};
    *exists = false;
    AUTO_QUERY sqlite3_stmt *row =
        sql_query(sql, err,
                  "SELECT step, end_state, reason, fault_kind, fault_step, fault_message, branch, "
                  "branch_number, tries FROM outbox WHERE task = ?",
                  SQL_INT(number));
    int more = row ? sql_step(sql, row, err) : sql_failed(err);
    if (more <= 0)
        return more;
    if (read_step((const char *)sqlite3_column_text(row, 0), &out->step) < 0 ||
        task_state_parse((const char *)sqlite3_column_text(row, 1), &out->end_state) < 0)
        return err_set(err, -EBADMSG, "the store is damaged: an outbox row of task number %lld",
                       (long long)number);
    out->reason = sql_text(row, 2);
    out->fault.kind = fault_kind_parse((const char *)sqlite3_column_text(row, 3));
    out->fault.step = sql_text(row, 4);
    out->fault.message = sql_text(row, 5);
    out->branch = sql_text(row, 6);
    out->branch_number = sqlite3_column_int64(row, 7);
    out->tries = sqlite3_column_int64(row, 8);
    *exists = true;
    return 0;
}

int store_outbox_set(struct store *store, int64_t number, const struct outbox *row, struct err *err)
{
    const char *kind = row->fault.kind == FAULT_NONE ? NULL : fault_kind_name(row->fault.kind);
    return sql_exec(store_writing(store), err,
                    "INSERT OR REPLACE INTO outbox (task, step, end_state, reason, fault_kind, "
                    "fault_step, fault_message, branch, branch_number, tries) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    SQL_INT(number), SQL_TEXT(steps[row->step]),
                    SQL_TEXT(task_state_name(row->end_state)), SQL_TEXT(row->reason),
                    SQL_TEXT(kind), SQL_TEXT(row->fault.step), SQL_TEXT(row->fault.message),
                    SQL_TEXT(row->branch), SQL_INT(row->branch_number), SQL_INT(row->tries));
}

int store_branch_taken(struct store *store, int64_t number, const char *repo, const char *branch,
                       const char *commit, struct err *err)
{
    /* Two tasks may have made the very same commit: then a push could not tell their branches
     * apart. */
    return (int)sql_number(
        store_reading(store), err, 0,
        "SELECT EXISTS (SELECT 1 FROM task WHERE repo = ? AND branch = ? AND work_commit = ? AND "
        "number != ?) OR EXISTS (SELECT 1 FROM outbox JOIN task ON task.number = outbox.task "
        "WHERE task.repo = ? AND outbox.branch = ? AND task.number != ?)",
        SQL_TEXT(repo), SQL_TEXT(branch), SQL_TEXT(commit), SQL_INT(number), SQL_TEXT(repo),
        SQL_TEXT(branch), SQL_INT(number));
}

int store_branch_wanted(struct store *store, const char *repo, const char *branch, struct err *err)
{
    return (int)sql_number(store_reading(store), err, 0,
                           "SELECT EXISTS (SELECT 1 FROM task WHERE repo = ? AND branch_wanted = ? "
                           "AND state NOT IN ('completed', 'failed', 'cancelled'))",
                           SQL_TEXT(repo), SQL_TEXT(branch));
}

int store_pull_request_add(struct store *store, int64_t number, const char *repo,
                           struct pull_request *request, struct err *err)
{
    request->number = sql_number(
        store_writing(store), err, 0,
        "INSERT INTO pull_request (task, forge, repo, number, url, state, draft, title, body, "
        "created_ms) VALUES (?1, ?2, ?3, iif(?4 > 0, ?4, (SELECT coalesce(max(number), 0) + 1 "
        "FROM pull_request WHERE forge = ?2 AND repo = ?3)), ?5, ?6, ?7, ?8, ?9, ?10) "
        "RETURNING number",
        SQL_INT(number), SQL_TEXT(request->forge), SQL_TEXT(repo), SQL_INT(request->number),
        SQL_TEXT(request->url), SQL_TEXT(request->state), SQL_INT(request->draft),
        SQL_TEXT(request->title), SQL_TEXT(request->body), SQL_INT(clock_real_ms()));
    return request->number < 0 ? (int)request->number : 0;
}

int store_pull_request_set_state(struct store *store, int64_t number, const char *state,
                                 int64_t checked_ms, struct err *err)
{
    return sql_exec(store_writing(store), err,
                    "UPDATE pull_request SET state = ?, checked_ms = ? WHERE task = ?",
                    SQL_TEXT(state), SQL_INT(checked_ms), SQL_INT(number));
}

int store_read_pull_request(struct store *store, struct task *task, struct err *err)
{
    struct sql *sql = store_reading(store);
    AUTO_QUERY sqlite3_stmt *row = sql_query(
        sql, err,
        "SELECT forge, number, url, state, draft, title, body, checked_ms FROM pull_request "
        "WHERE task = ?",
        SQL_INT(task->number));
    int more = row ? sql_step(sql, row, err) : sql_failed(err);
    if (more <= 0)
        return more;
    task->pull_request = (struct pull_request){
        .exists = true,
        .forge = sql_text(row, 0),
        .number = sqlite3_column_int64(row, 1),
        .url = sql_text(row, 2),
        .state = sql_text(row, 3),
        .draft = sqlite3_column_int(row, 4),
        .title = sql_text(row, 5),
        .body = sql_text(row, 6),
        .checked_ms = sqlite3_column_int64(row, 7),
    };
    return 0;
}
