/*
 * A thin layer over SQLite's C interface: statements are prepared once, values are bound by type,
 * and error codes become struct err. Private to this room.
 *
 *     sql_exec(&db, err, "UPDATE task SET phase = ? WHERE number = ?", SQL_TEXT(p), SQL_INT(n));
 *
 *     AUTO_QUERY sqlite3_stmt *row = sql_query(&db, err, "SELECT … WHERE id = ?", SQL_TEXT(id));
 *     int more = row ? sql_step(&db, row, err) : -1;   1: a row; 0: no more; negative
 *
 * The text of a statement is a literal: it is known again by its address. Bound text is not copied:
 * it stays where it is until the query's scope ends. After NULL, ERR says why (sql_failed() is its
 * code).
 */
#ifndef CODEX_STORE_SQL_H
#define CODEX_STORE_SQL_H

#include <sqlite3.h>
#include <stdint.h>

#include "base/err.h"

enum { SQL_STATEMENTS_MAX = 96 };

struct sql {
    sqlite3 *db;
    struct {
        const char *text;
        sqlite3_stmt *statement;
    } cache[SQL_STATEMENTS_MAX];
};

struct sql_value {
    enum { SQL_VALUE_END, SQL_VALUE_INT, SQL_VALUE_TEXT } type;
    int64_t number;
    const char *text; /* NULL: SQL NULL */
};

#define SQL_INT(n)  ((struct sql_value){.type = SQL_VALUE_INT, .number = (n)})
#define SQL_TEXT(s) ((struct sql_value){.type = SQL_VALUE_TEXT, .text = (s)})
#define SQL_VALUES(...)                                                                            \
    ((const struct sql_value[]){__VA_ARGS__ __VA_OPT__(, ){.type = SQL_VALUE_END}})

int sql_open(struct sql *sql, const char *path, int flags, struct err *err);
void sql_close(struct sql *sql);

/* Several statements without values, not kept. */
int sql_script(struct sql *sql, const char *script, struct err *err);

/* The error code of SQLite as ours, and its message: -ENOSPC for a full disk, -EIO … */
int sql_error(struct sql *sql, int code, struct err *err);

sqlite3_stmt *sql_query_values(struct sql *sql, struct err *err, const char *text,
                               const struct sql_value *values);
int sql_exec_values(struct sql *sql, struct err *err, const char *text,
                    const struct sql_value *values);

/* The code that ERR holds, for `row ? … : sql_failed(err)`. */
int sql_failed(const struct err *err);

#define sql_query(sql, err, text, ...) sql_query_values(sql, err, text, SQL_VALUES(__VA_ARGS__))
#define sql_exec(sql, err, text, ...)  sql_exec_values(sql, err, text, SQL_VALUES(__VA_ARGS__))

/* 1: ROW holds the next row; 0: there is none; negative: an error. */
int sql_step(struct sql *sql, sqlite3_stmt *row, struct err *err);

/* One number; FALLBACK when there is no row. Negative only on error, so for values that are not. */
int64_t sql_number_values(struct sql *sql, struct err *err, int64_t fallback, const char *text,
                          const struct sql_value *values);
#define sql_number(sql, err, fallback, text, ...)                                                  \
    sql_number_values(sql, err, fallback, text, SQL_VALUES(__VA_ARGS__))

/* A copy of a text column, NULL for NULL. The caller frees. */
char *sql_text(sqlite3_stmt *row, int column);

static inline void cleanup_query(sqlite3_stmt **row)
{
    if (!*row)
        return;
    sqlite3_reset(*row);
    sqlite3_clear_bindings(*row);
}
#define AUTO_QUERY __attribute__((cleanup(cleanup_query)))

#endif
