#include "store/internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "schema.h"

enum { MIGRATIONS = sizeof migrations / sizeof migrations[0] };

static int migrate(struct sql *sql, struct err *err)
{
    int64_t version = sql_number(sql, err, 0, "PRAGMA user_version");
    if (version < 0)
        return (int)version;
    if (version > MIGRATIONS)
        return err_set(err, ERR_REFUSED,
                       "it was written by a newer codexd (schema %lld, this one knows %d)",
                       (long long)version, MIGRATIONS);
    for (; version < MIGRATIONS; version++) {
        AUTO_FREE char *script =
            str_format("BEGIN IMMEDIATE;\n%s\nPRAGMA user_version = %d;\nCOMMIT;",
                       migrations[version], (int)version + 1);
        int status = sql_script(sql, script, err);
        if (status < 0) {
            sqlite3_exec(sql->db, "ROLLBACK", NULL, NULL, NULL);
            return err_context(err, "schema %d", (int)version + 1);
        }
    }
    return 0;
}

static int prepare_writer(struct sql *sql, struct err *err)
{
    int status = sql_script(sql,
                            "PRAGMA journal_mode = WAL;"
                            "PRAGMA foreign_keys = ON;"
                            "PRAGMA trusted_schema = OFF;"
                            "PRAGMA temp_store = MEMORY;"
                            "PRAGMA journal_size_limit = 8388608;"
                            "PRAGMA cache_size = -2048;",
                            err);
    return status < 0 ? status : migrate(sql, err);
}

struct store *store_open(const char *path, struct err *err)
{
    struct store *store = calloc(1, sizeof *store);
    if (!store)
        abort();
    int status = sql_open(&store->writer, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err);
    if (status == 0)
        status = prepare_writer(&store->writer, err);
    if (status < 0)
        err_context(err, "cannot open the store '%s'", path);
    if (status == 0)
        status = sql_open(&store->reader, path, SQLITE_OPEN_READONLY, err);
    if (status == 0)
        status = sql_script(&store->reader, "PRAGMA cache_size = -1024;", err);
    if (status < 0) {
        store_close(store);
        return NULL;
    }
    return store;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    store_rollback(store);
    sql_close(&store->reader);
    sql_close(&store->writer);
    free(store->touched);
    free(store);
}

void store_on_events(struct store *store, store_events_fn *fn, void *arg)
{
    store->on_events = fn;
    store->on_events_arg = arg;
}

struct sql *store_writing(struct store *store)
{
    if (!store->in_transaction)
        abort();
    return &store->writer;
}

struct sql *store_reading(struct store *store)
{
    return store->in_transaction ? &store->writer : &store->reader;
}

int store_begin(struct store *store, enum store_durability durability, struct err *err)
{
    if (store->in_transaction)
        abort();
    /* In WAL mode NORMAL writes the log without waiting for the disk; FULL waits at the commit, for
     * everything written before, too. It can only be changed between transactions. */
    int status =
        sql_script(&store->writer,
                   durability == STORE_NOW ? "PRAGMA synchronous = FULL; BEGIN IMMEDIATE"
                                           : "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
                   err);
    if (status < 0)
        return status;
    store->in_transaction = true;
    store->touched_count = 0;
    return 0;
}

void store_rollback(struct store *store)
{
    if (!store->in_transaction)
        return;
    store->in_transaction = false;
    /* After some errors (a full disk) SQLite has rolled back by itself, and refuses this. */
    sqlite3_exec(store->writer.db, "ROLLBACK", NULL, NULL, NULL);
}

int store_commit(struct store *store, struct err *err)
{
    int status = sql_script(store_writing(store), "COMMIT", err);
    if (status < 0) {
        store_rollback(store);
        return status;
    }
    store->in_transaction = false;
    for (size_t i = 0; store->on_events && i < store->touched_count; i++)
        store->on_events(store->on_events_arg, store->touched[i]);
    return 0;
}

int store_end(struct store *store, int status, struct err *err)
{
    if (status == 0)
        return store_commit(store, err);
    store_rollback(store);
    return status;
}

void store_touched(struct store *store, const char *task_id)
{
    for (size_t i = 0; i < store->touched_count; i++)
        if (!strcmp(store->touched[i], task_id))
            return;
    if (store->touched_count == store->touched_cap) {
        store->touched_cap = store->touched_cap ? store->touched_cap * 2 : 8;
        store->touched = realloc(store->touched, store->touched_cap * sizeof *store->touched);
        if (!store->touched)
            abort();
    }
    snprintf(store->touched[store->touched_count++], TASK_ID_SIZE, "%s", task_id);
}
