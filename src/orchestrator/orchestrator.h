/*
 * Takes tasks from their submission to their end: queue, runs, delivery.
 *
 * Every task under way has a job. A job does not remember what comes next: it reads that from the
 * store, does one step that may be repeated, writes the outcome in one transaction, and looks
 * again. So kill -9 at any point loses nothing; the next codexd reads the same store and goes on.
 *
 *     queued                        claimed when a slot is free: new run (fence + 1), preparing
 *     run not handed over           base bundle (cached), then SPAWN_RUN
 *     run handed over               its event file is followed; phases move the state
 *     run.ended                     outbox row: import → push → pull_request, or import alone, for
 *                                   work that is kept and not delivered
 *     runner gone without a word    a new run takes over, at most three in a row without progress
 *
 * Single-threaded on the loop. It logs, because jobs have no caller to return an error to.
 */
#ifndef CODEX_ORCHESTRATOR_ORCHESTRATOR_H
#define CODEX_ORCHESTRATOR_ORCHESTRATOR_H

#include <jansson.h>

#include "config/config.h"
#include "loop/loop.h"
#include "orchestrator/spawner.h"
#include "secrets/secrets.h"
#include "store/store.h"

struct orchestrator;

struct orchestrator_options { /* everything stays the caller's and outlives the orchestrator */
    struct loop *loop;
    struct store *store;
    const struct config *config;
    const struct secrets *secrets;
    struct spawner *spawner;
    const char *state_dir;
};

struct orchestrator *orchestrator_new(const struct orchestrator_options *options, struct err *err);
void orchestrator_free(struct orchestrator *o); /* what runs goes on without it */

/* Take up what an earlier codexd left, then start what the queue holds. */
int orchestrator_start(struct orchestrator *o, struct err *err);

/* Submission: submit.c */

/* What was asked for; NULL and 0 stand for the configuration's. */
struct submission {
    uint32_t uid;
    const char *prompt, *repo, *base, *branch, *model, *effort, *test, *setup, *forge;
    int64_t budget_tokens, timeout_ms, priority;
    struct task_limits limits; /* 0: the server's */
    /* Commits that a remote repository lacks: the id of a bundle with what BASE_COMMIT, where the
     * task starts, has beyond BUNDLE_BASE. All three or none. */
    const char *bundle, *base_commit, *bundle_base;
};

enum { ERR_KEY_MISSING = -2101 };

/* Called once, later: TASK as it was queued (released afterwards), or NULL and why. */
typedef void submitted_fn(void *arg, const struct task *task, const struct err *err);

struct submit;
/* Check S and ask git for the commit; NULL when it is refused at once. */
struct submit *orchestrator_submit(struct orchestrator *o, const struct submission *s,
                                   submitted_fn *done, void *arg, struct err *err);
/* Whoever submitted has left: DONE is not called, nothing is queued. NULL is fine. */
void orchestrator_submit_drop(struct submit *submit);

/* ERR_SANDBOX, -ENOSPC: why no task could run now. Of the machine, what was found at the last
 * look. */
int orchestrator_ready(struct orchestrator *o, struct err *err);

/* Examination: examine.c */

/* Look at the machine by way of the spawner, so that orchestrator_ready() soon knows. */
void orchestrator_look(struct orchestrator *o);

/* While that is under way: call LOOKED once it is known what was found, or after WAIT_MS. False: it
 * is known. */
bool orchestrator_await_look(struct orchestrator *o, int64_t wait_ms, void (*looked)(void *arg),
                             void *arg);
void orchestrator_forget_look(struct orchestrator *o, const void *arg);

/* FINDINGS: an array as in GET /v1/doctor; it becomes the callee's. */
typedef void examined_fn(void *arg, json_t *findings);

/* What is asked besides the machine; each takes up to half a minute, side by side. */
struct examine_request {
    bool provider;    /* the configured model, of which there has to be one, for a token */
    bool forges;      /* each whether it takes its token */
    const char *repo; /* and whether UID's tasks could work on this remote one; NULL: none */
    uint32_t uid;
};

struct examination;
/* Look anew, and ask. DONE is called once, never from within this function. */
struct examination *orchestrator_examine(struct orchestrator *o,
                                         const struct examine_request *request, examined_fn *done,
                                         void *arg);
void orchestrator_examine_drop(struct examination *examination); /* NULL is fine */

/* Later */

/* ERR_REFUSED once it delivers or has ended. The task ends as soon as its run has wound up. */
int orchestrator_cancel(struct orchestrator *o, const struct task *task, struct err *err);

/* Try the delivery of a failed task again. ERR_REFUSED unless it failed in that. */
int orchestrator_deliver(struct orchestrator *o, const struct task *task, struct err *err);

enum { UPLOAD_ID_SIZE = 32 };

/* Keep a bundle of commits for a submission of UID, which names it by ID. */
int orchestrator_upload(struct orchestrator *o, uint32_t uid, const void *bytes, size_t len,
                        char id[/* UPLOAD_ID_SIZE */], struct err *err);

/* Path of a file of the task ("diff.patch" …). The caller frees. */
char *orchestrator_task_file(const struct orchestrator *o, const char *task_id, const char *name);

/* Look whether the task's open pull request was merged meanwhile, but not all too often. DONE is
 * called once, perhaps at once, when there is no more to learn; the task is then to be read
 * again. */
typedef void refreshed_fn(void *arg);
struct refresh;
/* NULL: DONE was called already. */
struct refresh *orchestrator_refresh(struct orchestrator *o, const struct task *task,
                                     refreshed_fn *done, void *arg);
void orchestrator_refresh_drop(struct refresh *refresh); /* DONE is not called; NULL is fine */

#endif
