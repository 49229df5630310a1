/* A store in a directory of its own, for the tests that need one. */
#ifndef CODEX_TESTS_UNIT_STORE_FIXTURE_H
#define CODEX_TESTS_UNIT_STORE_FIXTURE_H

#include "test.h"

#include <fcntl.h>

#include "base/io.h"
#include "base/str.h"
#include "store/store.h"

struct fixture {
    char dir[64], path[96];
    struct store *store;
};

static inline int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err err = {0};
    strcpy(f->dir, "/tmp/test-store-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    snprintf(f->path, sizeof f->path, "%s/codex.db", f->dir);
    f->store = store_open(f->path, &err);
    *state = f;
    if (!f->store)
        print_error("%s\n", err.message);
    return f->store ? 0 : -1;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    store_close(f->store);
    io_remove_tree_at(AT_FDCWD, f->dir, NULL);
    free(f);
    return 0;
}

/* The last error, for ok(): `ok(store_begin(store, STORE_NOW, &why));` fails with its message. */
static __attribute__((unused)) struct err why;
#define ok(call)                                                                                   \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s", #call, why.message);                                                \
    } while (0)

/* A queued task in an open transaction; returns its number. */
static inline int64_t add_task(struct store *store, int64_t priority, char id[TASK_ID_SIZE])
{
    struct task task = {.uid = 1000,
                        .priority = priority,
                        .prompt = (char *)"do it",
                        .repo = (char *)"/repo",
                        .base = (char *)"main",
                        .base_commit = (char *)"0123",
                        .model = (char *)"m",
                        .provider = (char *)"p",
                        .effort = (char *)"high",
                        .timeout_ms = 1000};
    struct err err = {0};
    task_id_new(task.id);
    if (store_task_add(store, &task, &err) < 0)
        fail_msg("%s", err.message);
    if (id)
        strcpy(id, task.id);
    return task.number;
}

#endif
