/*
 * A task, as the store keeps it and the API shows it. A record of its own: changing it changes
 * nothing but the copy. Strings are owned by the record and NULL where there is nothing.
 */
#ifndef CODEX_TASK_TASK_H
#define CODEX_TASK_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "task/id.h"
#include "task/limits.h"
#include "task/phase.h"
#include "task/state.h"
#include "task/usage.h"
#include "task/verdict.h"

enum {
    TASK_PROMPT_MAX = 64 * 1024, /* bytes */
    TASK_MODEL_MAX = 200,        /* of its name; what gateway/request.c can compare */
};

struct fault {
    enum fault_kind kind; /* FAULT_NONE: no fault */
    char *step;           /* the phase, or "delivering" */
    char *message;        /* one sentence that says what to do */
};

struct pull_request {
    bool exists;
    char *forge; /* "plain" … */
    char *url;   /* NULL for plain */
    int64_t number;
    char *state; /* "open", "merged", "closed" */
    bool draft;
    char *title, *body;
    int64_t checked_ms; /* when the forge was asked last for its state; UTC, 0: never */
};

/* What the base branch has got since the task began on it. */
struct base_moved {
    char *commit; /* its tip when the work was delivered; NULL: it has not moved, or is not known */
    int64_t behind; /* how many commits it has that the work does not build on */
    int conflicts;  /* of the work with these: 1, 0, -1 when that is not known */
};

struct task {
    int64_t number; /* order of submission, 1… */
    char id[TASK_ID_SIZE];
    uint32_t uid; /* who submitted it */
    enum task_state state;
    uint32_t turn, attempt;
    uint32_t run; /* the fence: number of the current run, 0 before the first */
    int64_t priority;

    char *prompt, *repo, *base, *base_commit;
    char *base_known; /* base_commit came along with the task: the commit that REPO has below it */
    char *branch_wanted; /* --branch */
    char *test_command;  /* --test */
    char *setup_command; /* --setup */
    char *forge; /* where its pull request is opened; NULL: as the configuration says then */
    char *model, *provider, *effort;
    int64_t budget_tokens; /* 0: no limit */
    int64_t timeout_ms;
    struct task_limits limits; /* below the server's */

    char *phase;         /* name of the phase that the run is in, or was in last */
    int64_t round;       /* of working and verifying, 1… */
    char *activity;      /* the command that runs now */
    char *setup_failure; /* the command that did not do, and what to try */
    char *limits_hit;    /* names of limits, with a comma between them; "": none */
    char *waiting_for;

    char *title, *body, *branch_offered; /* what the agent's `submit` said */
    char *commit;                        /* the work, */
    uint32_t work_run;                   /* in the work bundle of this run */
    char *branch;                        /* delivered */
    int64_t branch_number; /* of the name that was pushed last, of a delivery that failed: 1, 2 … */
    struct base_moved base_moved;
    struct test_result baseline, verification;
    struct test_changes changes; /* between the two */
    enum verdict verdict;
    struct fault fault;
    struct pull_request pull_request;
    char *archive_path, *archive_sha256;
    int64_t archive_size;
    struct token_usage usage;

    bool prepared; /* there was a workspace */
    bool cancel_requested;
    int64_t crashes; /* runs in a row that died without progress */
    int64_t created_ms, started_ms, ended_ms, updated_ms; /* UTC; 0: not yet */
    int64_t last_seq;
};

void task_release(struct task *task);
void fault_release(struct fault *fault);
void pull_request_release(struct pull_request *request);

/* The task as JSON, the shape of docs/api.md. Negative when OUT is full. */
int task_to_json(const struct task *task, struct buf *out);

/* {"forge":…} or null, as in a task. */
int pull_request_to_json(const struct pull_request *request, struct buf *out);

/* {"commit":…,"behind":…,"conflicts":…} or null. */
int base_moved_to_json(const struct base_moved *moved, struct buf *out);

/* {"kind":…,"step":…,"message":…} or null. */
int fault_to_json(enum fault_kind kind, const char *step, const char *message, struct buf *out);

#endif
