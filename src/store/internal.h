/* Shared by the files of this room. */
#ifndef CODEX_STORE_INTERNAL_H
#define CODEX_STORE_INTERNAL_H

#include "store/sql.h"
#include "store/store.h"

struct store {
    struct sql writer, reader;
    bool in_transaction;
    store_events_fn *on_events;
    void *on_events_arg;
    char (*touched)[TASK_ID_SIZE]; /* tasks that got events in this transaction */
    size_t touched_count, touched_cap;
};

/* The connection to write with: aborts outside of a transaction. */
struct sql *store_writing(struct store *store);

/* The connection to read with: the writer's inside a transaction. */
struct sql *store_reading(struct store *store);

void store_touched(struct store *store, const char *task_id);

/* status, command, found, exit_code, duration_ms, output_tail, passed, failed, skipped from column
 * FIRST on. */
void store_read_test(sqlite3_stmt *row, int first, struct test_result *out);

/* The test results and the pull request of a task that was just read. */
int store_read_evidence(struct store *store, struct task *task, struct err *err);
int store_read_pull_request(struct store *store, struct task *task, struct err *err);

#endif
