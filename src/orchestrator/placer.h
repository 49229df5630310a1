/*
 * Where runs run. One placer now, local.c: runners on this machine, started by the spawner.
 *
 * A placer only starts, finds and cancels; what a run does is told by its event file. Every report
 * names its run, so that one of an earlier run can be told from the current.
 */
#ifndef CODEX_ORCHESTRATOR_PLACER_H
#define CODEX_ORCHESTRATOR_PLACER_H

#include <sys/types.h>

#include "base/err.h"
#include "config/config.h"
#include "orchestrator/spawner.h"
#include "task/spawn.h"

struct placer_reports {
    void (*started)(void *arg, const struct run_name *name);
    /* A request for this run could not be carried out: to start it, when it has not started, else
     * to cancel it (there was nobody to cancel, or he has just ended). */
    void (*failed)(void *arg, const struct run_name *name, const char *why);
    /* Its processes are gone and what they left is cleaned. WHY: a sentence, or "" . */
    void (*ended)(void *arg, const struct run_name *name, const char *why);
    void *arg;
};

enum { PLACER_ENVIRONMENT_SIZE = 64 };

struct placer {
    void *self;

    /* Start a run; FDS as in enum spawn_run_fd, they stay the caller's. Reports follow. */
    int (*start)(void *self, const struct spawn_run *run, const int *fds, size_t count,
                 struct err *err);

    /* End a run softly, whoever started it: what it did is kept. Reaching nobody is no error. */
    int (*cancel)(void *self, const struct run_name *name, struct err *err);

    /* A task has ended, and its last run has handed over all that there was: what a runner that was
     * killed behind that has kept goes. Where a runner is still at it, its end is reported. */
    int (*forget)(void *self, const struct run_name *name, struct err *err);

    /* The process that runs a run of this task, or 0; negative on error. */
    pid_t (*find)(void *self, const struct run_name *name, struct err *err);

    /* ERR_SANDBOX, with what to do about it, when no sandbox can be had here. */
    int (*ready)(void *self, struct err *err);

    /* Names what tests run in, for keeping baselines: another name, another result. */
    void (*environment)(void *self, char out[PLACER_ENVIRONMENT_SIZE]);
};

struct placer_local;

/* STATE_DIR is where runs/ is. */
struct placer_local *placer_local_new(struct placer *out, struct spawner *spawner,
                                      const char *state_dir, const char *runtime,
                                      const struct placer_reports *reports);
void placer_local_free(struct placer_local *local);

#endif
