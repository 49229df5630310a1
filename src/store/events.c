#include "store/internal.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json_text.h"

enum { EVENT_MAX = 8 << 20 };

/* What the task gives to each of its events. */
struct envelope {
    int64_t seq;
    char id[TASK_ID_SIZE];
    uint32_t turn, attempt;
};

static int take_seq(struct store *store, int64_t number, struct envelope *out, struct err *err)
{
    AUTO_QUERY sqlite3_stmt *row =
        sql_query(store_writing(store), err,
                  "UPDATE task SET last_seq = last_seq + 1, updated_ms = ? WHERE number = ? "
                  "RETURNING last_seq, id, turn, attempt",
                  SQL_INT(clock_real_ms()), SQL_INT(number));
    int more = row ? sql_step(&store->writer, row, err) : sql_failed(err);
    if (more < 0)
        return more;
    if (!more)
        return err_set(err, ERR_NOT_FOUND, "there is no task number %lld", (long long)number);
    out->seq = sqlite3_column_int64(row, 0);
    snprintf(out->id, sizeof out->id, "%s", (const char *)sqlite3_column_text(row, 1));
    out->turn = (uint32_t)sqlite3_column_int64(row, 2);
    out->attempt = (uint32_t)sqlite3_column_int64(row, 3);
    return 0;
}

int store_event_add(struct store *store, const struct store_event *event, struct err *err)
{
    struct envelope envelope;
    int status = take_seq(store, event->number, &envelope, err);
    if (status < 0)
        return status;
    char now[CLOCK_RFC3339_SIZE];
    clock_rfc3339(clock_real_ms(), now);

    AUTO_BUF struct buf json;
    buf_init(&json, EVENT_MAX);
    buf_appendf(&json, "{\"seq\":%lld,\"ts\":", (long long)envelope.seq);
    json_text_cstring(&json, event->ts ? event->ts : now);
    buf_appendf(&json,
                ",\"task\":\"%s\",\"turn\":%u,\"attempt\":%u,\"run\":%u,\"phase\":", envelope.id,
                envelope.turn, envelope.attempt, event->run);
    json_text_cstring(&json, event->phase);
    buf_append_str(&json, ",\"type\":");
    json_text_cstring(&json, event->type);
    buf_append_str(&json, event->members);
    if (buf_append_char(&json, '}') < 0)
        return err_set(err, ERR_LIMIT, "an event is larger than %d bytes", EVENT_MAX);
    status = sql_exec(
        store_writing(store), err, "INSERT INTO event (task, seq, type, json) VALUES (?, ?, ?, ?)",
        SQL_INT(event->number), SQL_INT(envelope.seq), SQL_TEXT(event->type), SQL_TEXT(json.data));
    if (status == 0)
        store_touched(store, envelope.id);
    return status;
}

int store_event_list(struct store *store, int64_t number, int64_t after, int64_t limit,
                     store_event_visit_fn *visit, void *arg, struct err *err)
{
    struct sql *sql = store_reading(store);
    AUTO_QUERY sqlite3_stmt *row = sql_query(
        sql, err,
        "SELECT seq, type, json FROM event WHERE task = ? AND seq > ? ORDER BY seq LIMIT ?",
        SQL_INT(number), SQL_INT(after), SQL_INT(limit));
    int more = row ? sql_step(sql, row, err) : sql_failed(err);
    int count = 0;
    for (; more > 0; more = sql_step(sql, row, err), count++)
        if (visit(arg, sqlite3_column_int64(row, 0), (const char *)sqlite3_column_text(row, 1),
                  (const char *)sqlite3_column_text(row, 2)))
            return count;
    return more < 0 ? more : count;
}

int store_event_turn_failure(struct store *store, int64_t number, uint32_t run, char **out,
                             struct err *err)
{
    *out = NULL;
    struct sql *sql = store_writing(store);
    AUTO_QUERY sqlite3_stmt *row = sql_query(
        sql, err,
        "SELECT json_extract(json, '$.error.message') FROM event WHERE task = ? "
        "AND type = 'turn.failed' AND json_extract(json, '$.run') = ? ORDER BY seq DESC LIMIT 1",
        SQL_INT(number), SQL_INT(run));
    int more = row ? sql_step(sql, row, err) : sql_failed(err);
    if (more > 0)
        *out = sql_text(row, 0);
    return more < 0 ? more : 0;
}

int store_event_refusals(struct store *store, int64_t number, struct refusals *out, struct err *err)
{
    *out = (struct refusals){0};
    struct sql *sql = store_reading(store);
    AUTO_QUERY sqlite3_stmt *row =
        sql_query(sql, err,
                  "SELECT json_extract(json, '$.host') AS host, json_extract(json, '$.port') AS "
                  "port, json_extract(json, '$.reason') AS reason, "
                  "sum(min(json_extract(json, '$.count'), 1000000000)) AS times, count(*) OVER () "
                  "FROM event WHERE task = ? AND type = 'network.denied' "
                  "GROUP BY host, port, reason ORDER BY times DESC, host, port LIMIT ?",
                  SQL_INT(number), SQL_INT(REFUSALS_MAX));
    int more = row ? sql_step(sql, row, err) : sql_failed(err);
    for (; more > 0; more = sql_step(sql, row, err)) {
        out->of[out->count++] = (struct refusal){.host = sql_text(row, 0),
                                                 .port = sqlite3_column_int64(row, 1),
                                                 .reason = sql_text(row, 2),
                                                 .count = sqlite3_column_int64(row, 3)};
        out->total = sqlite3_column_int64(row, 4);
    }
    return more < 0 ? more : 0;
}
