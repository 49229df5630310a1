#include "store/sql.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

int sql_open(struct sql *sql, const char *path, int flags, struct err *err)
{
    *sql = (struct sql){0};
    int code = sqlite3_open_v2(path, &sql->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK) {
        sql_error(sql, code, err);
        sql_close(sql);
        return sql_failed(err);
    }
    sqlite3_extended_result_codes(sql->db, 1);
    sqlite3_busy_timeout(sql->db, 5000);
    return 0;
}

void sql_close(struct sql *sql)
{
    for (size_t i = 0; i < SQL_STATEMENTS_MAX; i++)
        sqlite3_finalize(sql->cache[i].statement);
    sqlite3_close(sql->db);
    *sql = (struct sql){0};
}

int sql_error(struct sql *sql, int code, struct err *err)
{
    const char *said = sql->db ? sqlite3_errmsg(sql->db) : sqlite3_errstr(code);
    switch (code & 0xff) {
    case SQLITE_FULL:
        return err_set(err, -ENOSPC, "the store cannot grow: no space left on its disk");
    case SQLITE_IOERR:
        return err_set(err, -EIO, "the store's disk fails: %s", said);
    case SQLITE_NOMEM:
        abort();
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return err_set(err, -EBADMSG, "the store is damaged: %s", said);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(err, -EBUSY, "the store is locked by another process");
    case SQLITE_CANTOPEN:
        return err_set(err, -ENOENT, "%s", said);
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return err_set(err, -EACCES, "the store cannot be written: %s", said);
    default:
        return err_set(err, -EIO, "store: %s", said);
    }
}

int sql_script(struct sql *sql, const char *script, struct err *err)
{
    int code = sqlite3_exec(sql->db, script, NULL, NULL, NULL);
    return code == SQLITE_OK ? 0 : sql_error(sql, code, err);
}

static sqlite3_stmt *prepare(struct sql *sql, const char *text, struct err *err)
{
    size_t i = 0;
    while (i < SQL_STATEMENTS_MAX && sql->cache[i].text && sql->cache[i].text != text)
        i++;
    if (i == SQL_STATEMENTS_MAX)
        abort(); /* more statements in the source than the cache was made for */
    if (sql->cache[i].text)
        return sql->cache[i].statement;
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v3(sql->db, text, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
    if (code != SQLITE_OK) {
        sql_error(sql, code, err);
        return NULL;
    }
    sql->cache[i].text = text;
    sql->cache[i].statement = statement;
    return statement;
}

sqlite3_stmt *sql_query_values(struct sql *sql, struct err *err, const char *text,
                               const struct sql_value *values)
{
    sqlite3_stmt *row = prepare(sql, text, err);
    if (!row)
        return NULL;
    sqlite3_reset(row);
    int at = 1;
    for (const struct sql_value *v = values; v->type != SQL_VALUE_END; v++, at++) {
        int code = v->type == SQL_VALUE_INT ? sqlite3_bind_int64(row, at, v->number)
                   : v->text                ? sqlite3_bind_text(row, at, v->text, -1, SQLITE_STATIC)
                                            : sqlite3_bind_null(row, at);
        if (code != SQLITE_OK) {
            sql_error(sql, code, err);
            return NULL;
        }
    }
    if (at - 1 != sqlite3_bind_parameter_count(row))
        abort(); /* a value too few or too many: a mistake in the source */
    return row;
}

int sql_failed(const struct err *err)
{
    return err && err->code < 0 ? err->code : -EIO;
}

int sql_step(struct sql *sql, sqlite3_stmt *row, struct err *err)
{
    int code = sqlite3_step(row);
    if (code == SQLITE_ROW)
        return 1;
    return code == SQLITE_DONE ? 0 : sql_error(sql, code, err);
}

int sql_exec_values(struct sql *sql, struct err *err, const char *text,
                    const struct sql_value *values)
{
    AUTO_QUERY sqlite3_stmt *row = sql_query_values(sql, err, text, values);
    return row ? sql_step(sql, row, err) : sql_failed(err);
}

int64_t sql_number_values(struct sql *sql, struct err *err, int64_t fallback, const char *text,
                          const struct sql_value *values)
{
    AUTO_QUERY sqlite3_stmt *row = sql_query_values(sql, err, text, values);
    int more = row ? sql_step(sql, row, err) : sql_failed(err);
    if (more < 0)
        return more;
    return more ? sqlite3_column_int64(row, 0) : fallback;
}

char *sql_text(sqlite3_stmt *row, int column)
{
    return str_dup((const char *)sqlite3_column_text(row, column));
}
