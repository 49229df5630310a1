/*
 * What codexd keeps: tasks, their runs and events, what is still to be delivered, pull requests and
 * known baselines. SQLite in WAL mode: one connection for every write and checkpoint, a read-only
 * one for what is read outside of a transaction.
 *
 * Every function that writes needs an open transaction (store_begin() … store_commit()); it aborts
 * without one. What belongs together is written in one, so after a crash all of it is there or
 * none. Within a transaction, reading sees what it wrote.
 *
 * A full disk is -ENOSPC, an old fence ERR_CONFLICT, a missing thing ERR_NOT_FOUND. After any error
 * the transaction is to be rolled back.
 *
 * Records are copies that the caller releases. A task is named by its number inside, by its id
 * outside.
 */
#ifndef CODEX_STORE_STORE_H
#define CODEX_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "task/refusals.h"
#include "task/task.h"

struct store;

/* PATH is made when it is not there; an older schema is brought up to date, a newer one refused. */
struct store *store_open(const char *path, struct err *err);
void store_close(struct store *store);

/* Called after a commit, once for each task that got events. FN must not use the store. */
typedef void store_events_fn(void *arg, const char *task_id);
void store_on_events(struct store *store, store_events_fn *fn, void *arg);

enum store_durability {
    STORE_LATER, /* survives a kill; a power cut may take it back: for what can be read again */
    STORE_NOW,   /* on the disk when the commit returns: what was promised or cannot be redone */
};

int store_begin(struct store *store, enum store_durability durability, struct err *err);
int store_commit(struct store *store, struct err *err); /* rolls back when it fails */
void store_rollback(struct store *store);               /* without a transaction: nothing */
/* Commit when STATUS is 0, else roll back. Returns what came of it: STATUS, or why it was not
 * written. */
int store_end(struct store *store, int status, struct err *err);

/* Tasks: tasks.c */

/* A new task, queued: what was asked is taken from TASK (id, uid, priority, prompt … timeout_ms);
 * its number is set. */
int store_task_add(struct store *store, struct task *task, struct err *err);

int store_task_get(struct store *store, const char *id, struct task *out, struct err *err);
int store_task_load(struct store *store, int64_t number, struct task *out, struct err *err);

struct store_list {
    int64_t uid;        /* whose; -1: everybody's */
    bool active;        /* only what has not ended */
    const char *before; /* only those submitted before this task; NULL: all */
    int64_t limit;
};
/* Returned by a visitor: go on, or stop here. */
typedef bool store_visit_fn(void *arg, const struct task *task);

/* Newest first. ERR_NOT_FOUND when `before` is unknown. */
int store_task_list(struct store *store, const struct store_list *list, store_visit_fn *visit,
                    void *arg, struct err *err);

/* Numbers of the tasks that are under way (neither queued, parked nor ended), at most MAX; returns
 * how many. For the start of codexd. */
int store_tasks_under_way(struct store *store, int64_t *numbers, int max, struct err *err);

/* The same of those that have ended, the last first. */
int store_tasks_ended_last(struct store *store, int64_t *numbers, int max, struct err *err);

/* How many tasks of UID are queued. */
int64_t store_count_queued(struct store *store, uint32_t uid, struct err *err);

/* Number of the queued task that is next (highest priority, then oldest); 0: none. */
int64_t store_queue_head(struct store *store, struct err *err);

/* The agent's commit, and what its `submit` said (NULL: nothing). */
struct store_work {
    uint32_t run; /* whose work bundle holds it */
    const char *commit, *title, *body, *branch;
};
int store_task_set_work(struct store *store, int64_t number, const struct store_work *work,
                        struct err *err);
int store_task_set_phase(struct store *store, int64_t number, const char *phase, int64_t round,
                         struct err *err);
int store_task_set_prepared(struct store *store, int64_t number, struct err *err);
int store_task_set_activity(struct store *store, int64_t number, const char *activity,
                            struct err *err);
int store_task_set_setup_failure(struct store *store, int64_t number, const char *why,
                                 struct err *err);
int store_task_add_usage(struct store *store, int64_t number, const struct token_usage *usage,
                         struct err *err);
/* LIMIT is the name of one (task/limits.h); told again it changes nothing. */
int store_task_add_limit_hit(struct store *store, int64_t number, const char *limit,
                             struct err *err);
int store_task_set_archive(struct store *store, int64_t number, const char *path,
                           const char *sha256, int64_t size_bytes, struct err *err);
int store_task_set_branch(struct store *store, int64_t number, const char *branch, struct err *err);
int store_task_set_branch_number(struct store *store, int64_t number, int64_t branch_number,
                                 struct err *err);
int store_task_set_base_moved(struct store *store, int64_t number, const struct base_moved *moved,
                              struct err *err);
int store_task_request_cancel(struct store *store, int64_t number, struct err *err);

/* 1 when another task is delivering BRANCH of REPO, or has delivered this very COMMIT as it; else
 * 0. */
int store_branch_taken(struct store *store, int64_t number, const char *repo, const char *branch,
                       const char *commit, struct err *err);

/* 1 when a task that has not ended was asked for BRANCH of REPO by name; else 0. */
int store_branch_wanted(struct store *store, const char *repo, const char *branch, struct err *err);

/* The state: state.c */

struct task_move {
    int64_t number;
    uint32_t fence; /* the run that the writer believes to be current */
    enum task_state to;
    const char *reason; /* one sentence, or NULL */
    enum verdict verdict;
    enum fault_kind fault;
    const char *fault_step, *fault_message;
};

/* The only function that changes a task's state. Checks the fence (ERR_CONFLICT) and the table of
 * moves (ERR_REFUSED), writes the state and its `task.state` event. A move to where the task is
 * already does nothing. Ending a task also takes its outbox row away. */
int task_set_state(struct store *store, const struct task_move *move, struct err *err);

/* ERR_CONFLICT unless RUN is the task's current run. */
int store_check_fence(struct store *store, int64_t number, uint32_t run, struct err *err);

/* Events: events.c */

struct store_event {
    int64_t number;
    uint32_t run;
    const char *type;
    const char *ts;    /* RFC 3339; NULL: now */
    const char *phase; /* NULL: none */
    /* Further members as JSON text, each with a comma before it (`,"item":{…}`), or "". */
    const char *members;
};
/* Add it with the task's next seq. */
int store_event_add(struct store *store, const struct store_event *event, struct err *err);

typedef int store_event_visit_fn(void *arg, int64_t seq, const char *type, const char *json);
/* Oldest first, until LIMIT or until VISIT returns something other than 0; returns how many. */
int store_event_list(struct store *store, int64_t number, int64_t after, int64_t limit,
                     store_event_visit_fn *visit, void *arg, struct err *err);

/* Why the agent's turn failed, in its own words: the message of the last `turn.failed` of RUN.
 * *OUT, which the caller frees, is NULL where there is none. Within a transaction. */
int store_event_turn_failure(struct store *store, int64_t number, uint32_t run, char **out,
                             struct err *err);

/* Which addresses the task was refused, by all of its events. Release OUT also after a failure. */
int store_event_refusals(struct store *store, int64_t number, struct refusals *out,
                         struct err *err);

/* Runs: runs.c */

struct store_run {
    uint32_t run;
    int64_t spawned_ms, ended_ms, events_offset;
    bool progress;
    enum run_outcome outcome; /* RUN_OUTCOME_COUNT: none */
};

/* A new run of the task, which raises its fence; returns its number. */
int store_run_add(struct store *store, int64_t number, struct err *err);
/* The current one. */
int store_run_get(struct store *store, int64_t number, struct store_run *out, struct err *err);
int store_run_set_spawned(struct store *store, int64_t number, uint32_t run, struct err *err);
/* The bytes of the event file up to OFFSET are events now. */
int store_run_set_offset(struct store *store, int64_t number, uint32_t run, int64_t offset,
                         bool progress, struct err *err);
/* OUTCOME is RUN_OUTCOME_COUNT for a run that died without a word. */
int store_run_end(struct store *store, int64_t number, uint32_t run, enum run_outcome outcome,
                  struct err *err);
/* Wall time that the task's ended runs have used. */
int64_t store_runs_used_ms(struct store *store, int64_t number, struct err *err);
/* How many runs in a row died without progress. */
int store_task_set_crashes(struct store *store, int64_t number, int64_t crashes, struct err *err);

/* The tests: evidence.c */

enum store_test { STORE_TEST_BASELINE, STORE_TEST_VERIFICATION };

/* Without the list of tests. */
int store_test_set(struct store *store, int64_t number, enum store_test which,
                   const struct test_result *result, struct err *err);

/* In place of those that there were. */
int store_test_changes_set(struct store *store, int64_t number, const struct test_changes *changes,
                           struct err *err);

struct store_baseline_key {
    const char *repo, *base_commit, *test_command /* NULL: the one that is found */, *environment;
};
enum { STORE_BASELINES_MAX = 128 }; /* the youngest are kept */

/* With the list of tests. result->known is false when nothing is known. */
int store_baseline_get(struct store *store, const struct store_baseline_key *key,
                       struct test_result *result, struct err *err);
int store_baseline_set(struct store *store, const struct store_baseline_key *key,
                       const struct test_result *result, struct err *err);

/* Delivery: outbox.c */

enum outbox_step {
    OUTBOX_IMPORT,
    OUTBOX_PUSH,
    OUTBOX_BASE,
    OUTBOX_PULL_REQUEST,
    OUTBOX_STEP_COUNT
};

struct outbox {
    enum outbox_step step;
    enum task_state end_state; /* what the task becomes when all is done */
    char *reason;
    struct fault fault;
    char *branch; /* chosen, not necessarily pushed */
    int64_t branch_number;
    int64_t tries; /* failed ones, of this step */
};
void outbox_release(struct outbox *row);

/* exists is false when the task has none. */
int store_outbox_get(struct store *store, int64_t number, struct outbox *out, bool *exists,
                     struct err *err);
/* Add or replace. */
int store_outbox_set(struct store *store, int64_t number, const struct outbox *row,
                     struct err *err);

/* A number of 0 is given by the store: 1, 2 … for each repository. A task has at most one. */
int store_pull_request_add(struct store *store, int64_t number, const char *repo,
                           struct pull_request *request, struct err *err);
int store_pull_request_set_state(struct store *store, int64_t number, const char *state,
                                 int64_t checked_ms, struct err *err);

#endif
