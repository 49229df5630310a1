/* Shared by the files of this room. */
#ifndef CODEX_ORCHESTRATOR_INTERNAL_H
#define CODEX_ORCHESTRATOR_INTERNAL_H

#include "forge/forge.h"
#include "orchestrator/follow.h"
#include "orchestrator/forges.h"
#include "orchestrator/git.h"
#include "orchestrator/machine.h"
#include "orchestrator/orchestrator.h"
#include "orchestrator/placer.h"

/* What the log was told last, so that a trouble that lasts does not fill it. */
struct trouble {
    char message[160];
    int64_t logged_ms;
};

/* A task under way. At most one of its waits is set: what it waits for before it goes on. */
struct job {
    struct orchestrator *o;
    int64_t number;
    char id[TASK_ID_SIZE];
    uint32_t turn, attempt;
    uint32_t run; /* the current one; reports of others are stale */

    struct git_job *git;       /* import, push, moved or merge under way */
    struct fetch *fetch;       /* its base bundle is on its way */
    const char *fetch_name;    /* and becomes this file of the task's */
    struct fault fetch_fault;  /* why that cannot be had; its message is ours */
    int adopt_tries;           /* failed ones, to take up commits that came along */
    bool wants_slot;           /* it has its bundle, and waits until it may run */
    struct opening *opening;   /* a pull request is being opened */
    struct base_look *look;    /* it is found out what the base branch has got */
    int64_t pause_ms;          /* before a step of the delivery is tried again */
    struct follower *follower; /* the run was handed over; its events come from here */
    bool placed;               /* handed over by this codexd, so a report will come */
    bool started;              /* and one did */
    bool gone;                 /* its runner has ended: what the event file holds is all */
    char why[768];             /* what the report said about that */
    int adopted_fd;            /* pidfd of a runner that an earlier codexd started, or -1 */
    struct loop_source *adopted;
    pid_t adopted_pid;         /* 0: none */
    struct loop_source *timer; /* continue then */
    struct loop_source *cancel_timer;
    struct trouble trouble;
    bool looked_again; /* adoption: the lock was free; it is looked at a second time */

    struct job *next;
};

struct orchestrator {
    struct loop *loop;
    struct store *store;
    const struct config *config;
    const struct secrets *secrets;
    char *state_dir;
    struct git *git;
    struct placer placer;
    struct placer_local *local;
    struct forges *forges;
    struct followers *followers;
    struct job *jobs;
    struct loop_source *queue_timer;
    struct submit *submits;
    struct refresh *refreshes;
    struct fetch *fetches;
    struct bundle_index *bundle_indexes;
    struct upload *uploads;
    struct spawner *spawner;
    struct machine *machine;
    struct examination *examinations;
    struct forge_probe *forge_probes;
    struct trouble trouble;        /* of the queue */
    int64_t looks, looks_since_ms; /* refresh.c */
};

enum {
    RETRY_MS = 1000,
    TRIES_MAX = 3,
    CRASHES_MAX = 3, /* in a row; then one run more saves what there is */
    RUNS_MAX = 25,
    PROBES_MAX = 4, /* of the provider, at once: examine.c */
};

/* orchestrator.c */

/* Do the next step of JOB; when its task has ended, the job is freed. */
void job_continue(struct job *job);

/* The same in a moment, when nothing can be done now. */
void job_continue_in(struct job *job, int64_t delay_ms);

/* A step failed for a reason that may pass (the store's disk is full, …): log it, try again
 * later. */
void job_trouble(struct job *job, const struct err *err);

/* Whether ERR is to be logged: it is another one than LAST, or a while has gone by. */
bool trouble_is_news(struct trouble *last, const struct err *err);

/* There may be a task to start, or a slot for it. */
void queue_changed(struct orchestrator *o);

/* A job for a task that is under way and has none; it goes on from the loop. */
void job_begin(struct orchestrator *o, int64_t number);
/* Is the queued task NUMBER the next one, and a slot free for it? */
bool queue_starts_now(struct orchestrator *o, int64_t number);

struct job *job_find(struct orchestrator *o, int64_t number);
struct run_name job_run_name(const struct job *job);

/* Of a task that has ended: nothing is kept for another run of it any more. */
void release_run(struct orchestrator *o, const struct task *task);

/* Whatever the job waits for is no longer wanted. */
void job_drop_waits(struct job *job);

/* prepare.c: the run is not handed over yet */
void prepare_continue(struct job *job, const struct task *task);

/* launch.c: SPAWN_RUN with all its descriptors */
enum { BASELINE_ENVIRONMENT_SIZE = PLACER_ENVIRONMENT_SIZE + 20 + 3 * 21 };
/* Names what the task's tests run in: the placer's word for it, how it was set up and for whom, its
 * limits. */
void launch_environment(const struct job *job, const struct task *task,
                        char out[BASELINE_ENVIRONMENT_SIZE]);
int launch_run(struct job *job, const struct task *task, int64_t left_ms, struct err *err);

/* monitor.c: the run was handed over */
void monitor_continue(struct job *job, const struct task *task, const struct store_run *run);
void monitor_on_started(void *arg, const struct run_name *name);
void monitor_on_failed(void *arg, const struct run_name *name, const char *why);
void monitor_on_ended(void *arg, const struct run_name *name, const char *why);
void monitor_cancel(struct job *job);
void monitor_let_go(struct job *job); /* no longer watch an adopted runner */

/* end.c: how a run ends a task. Within a transaction */

struct run_end {
    enum run_outcome outcome;
    bool changed;
    enum fault_kind fault;
    const char *fault_step, *fault_message;
};
/* run.ended was read. */
int end_run(struct job *job, const struct run_end *end, struct err *err);
/* The runner died without a word. */
int end_crashed_run(struct job *job, bool counts, struct err *err);
/* The task becomes TO; work that there is becomes its patch first. */
int end_task(struct job *job, const struct task *task, enum task_state to, const char *reason,
             const struct fault *fault, struct err *err);

/* delivery.c, delivery_base.c, delivery_request.c: what the outbox says */
void delivery_continue(struct job *job, const struct task *task, const struct outbox *row);
void delivery_free_opening(struct job *job);
void delivery_free_look(struct job *job);

/* The first choice of a branch, from the FROMth on, that no other task is using: into ROW. */
int delivery_choose_branch(struct orchestrator *o, const struct task *task, struct outbox *row,
                           int64_t from, struct err *err);

/* submit.c, refresh.c, examine.c, probe_forge.c */
void submit_free_all(struct orchestrator *o);
void examinations_free_all(struct orchestrator *o);
void forge_probes_free_all(struct orchestrator *o);
void refresh_free_all(struct orchestrator *o);
void refresh_ask_contains(void *host, const struct task *task, forge_contains_done_fn *done,
                          void *arg);

#endif
