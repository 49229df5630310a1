#include "store/internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json_text.h"

enum { MEMBERS_MAX = 65536 };

/* A task as it is now, before a move. */
struct present {
    enum task_state state;
    uint32_t run; /* the fence */
    enum verdict verdict;
};

static int read_present(struct store *store, int64_t number, struct present *out, struct err *err)
{
    AUTO_QUERY sqlite3_stmt *row =
        sql_query(store_writing(store), err,
                  "SELECT state, run, verdict FROM task WHERE number = ?", SQL_INT(number));
    int more = row ? sql_step(&store->writer, row, err) : sql_failed(err);
    if (more < 0)
        return more;
    if (!more)
        return err_set(err, ERR_NOT_FOUND, "there is no task number %lld", (long long)number);
    if (task_state_parse((const char *)sqlite3_column_text(row, 0), &out->state) < 0)
        abort(); /* only task_set_state() writes it */
    out->run = (uint32_t)sqlite3_column_int64(row, 1);
    out->verdict = verdict_parse((const char *)sqlite3_column_text(row, 2));
    return 0;
}

static int check_fence(uint32_t current, uint32_t fence, struct err *err)
{
    if (current == fence)
        return 0;
    return err_set(err, ERR_CONFLICT, "run %u is over: run %u has taken its place", fence, current);
}

int store_check_fence(struct store *store, int64_t number, uint32_t run, struct err *err)
{
    struct present present;
    int status = read_present(store, number, &present, err);
    return status < 0 ? status : check_fence(present.run, run, err);
}

static int add_event(struct store *store, const struct task_move *move,
                     const struct present *before, struct err *err)
{
    enum verdict verdict = move->verdict == VERDICT_UNSET ? before->verdict : move->verdict;
    AUTO_BUF struct buf members;
    buf_init(&members, MEMBERS_MAX);
    buf_appendf(&members,
                ",\"state\":\"%s\",\"from\":\"%s\",\"reason\":", task_state_name(move->to),
                task_state_name(before->state));
    json_text_cstring(&members, move->reason);
    buf_append_str(&members, ",\"fault\":");
    fault_to_json(move->fault, move->fault_step, move->fault_message, &members);
    buf_append_str(&members, ",\"verdict\":");
    if (json_text_cstring(&members, verdict_name(verdict)) < 0)
        return err_set(err, ERR_LIMIT, "the reason for a change of state is too long");
    struct store_event event = {
        .number = move->number, .run = move->fence, .type = "task.state", .members = members.data};
    return store_event_add(store, &event, err);
}

/* started_ms is set once, and a verdict stays until there is another; ended_ms and the fault belong
 * to the state that they came with. */
static int write_state(struct store *store, const struct task_move *move, struct err *err)
{
    int64_t now = clock_real_ms();
    bool ended = task_state_ended(move->to);
    const char *kind = move->fault == FAULT_NONE ? NULL : fault_kind_name(move->fault);
    int status = sql_exec(
        store_writing(store), err,
        "UPDATE task SET state = ?, verdict = coalesce(?, verdict), "
        "fault_kind = ?, fault_step = ?, fault_message = ?, "
        "started_ms = CASE WHEN started_ms = 0 AND ? THEN ? ELSE started_ms END, "
        "ended_ms = ?, activity = CASE WHEN ? THEN NULL ELSE activity END WHERE number = ?",
        SQL_TEXT(task_state_name(move->to)), SQL_TEXT(verdict_name(move->verdict)), SQL_TEXT(kind),
        SQL_TEXT(kind ? move->fault_step : NULL), SQL_TEXT(kind ? move->fault_message : NULL),
        SQL_INT(task_state_running(move->to)), SQL_INT(now), SQL_INT(ended ? now : 0),
        SQL_INT(!task_state_running(move->to)), SQL_INT(move->number));
    if (status == 0 && ended)
        status = sql_exec(store_writing(store), err, "DELETE FROM outbox WHERE task = ?",
                          SQL_INT(move->number));
    return status;
}

int task_set_state(struct store *store, const struct task_move *move, struct err *err)
{
    struct present before;
    int status = read_present(store, move->number, &before, err);
    if (status < 0)
        return status;
    if (check_fence(before.run, move->fence, err) < 0)
        return ERR_CONFLICT;
    if (before.state == move->to)
        return 0;
    if (!task_state_may_move(before.state, move->to))
        return err_set(err, ERR_REFUSED, "a task cannot go from %s to %s",
                       task_state_name(before.state), task_state_name(move->to));
    status = write_state(store, move, err);
    return status < 0 ? status : add_event(store, move, &before, err);
}
