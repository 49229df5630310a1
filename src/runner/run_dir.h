/*
 * runs/<name>/ in the state directory: the lock that says who executes a run, and its status file.
 *
 * The lock is a POSIX record lock: it goes when its holder dies, a forked child does not keep it,
 * and F_GETLK tells anybody the holder's pid. The directory goes when a run has ended well; taking
 * the lock copes with that.
 */
#ifndef CODEX_RUNNER_RUN_DIR_H
#define CODEX_RUNNER_RUN_DIR_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

enum { RUN_NAME_SIZE = 64 };

struct run_dir {
    int dir_fd, lock_fd;
    int runs_fd; /* its parent */
    char name[RUN_NAME_SIZE];
};

/* A name that is one component and nothing else: [a-z0-9-]. */
bool run_name_is_valid(const char *name);

/* Make runs/NAME below STATE and take its lock, waiting up to WAIT_MS for somebody who is cleaning
 * up. ERR_CONFLICT names the process that has it. */
int run_dir_take(struct run_dir *dir, const char *state, const char *name, int wait_ms,
                 struct err *err);

/* Give the lock back; with REMOVE the directory goes too. */
void run_dir_release(struct run_dir *dir, bool remove);

/* The process that holds the lock of runs/NAME; 0: nobody. */
pid_t run_dir_holder(int runs_fd, const char *name);

/* What the status file says, for people and for `doctor`: "key value" lines. */
struct run_status {
    const char *phase; /* or "ended" */
    unsigned turn, attempt, run;
    const char *outcome; /* NULL: not yet. Lock free and no outcome: the runner has crashed */
    bool keep_workspace; /* it is needed still, or could not be archived */
};
int run_dir_write_status(struct run_dir *dir, const struct run_status *status, struct err *err);

/* Which turn and run the status file of runs/NAME tells of; 0 and 0 when there is none. */
void run_dir_read_run(int runs_fd, const char *name, unsigned *turn, unsigned *run);

/* Whether nothing in the status file says that the workspace is to be kept. */
bool run_dir_is_over(const struct run_dir *dir);

/* Whether the run's last runner was killed before it could say how it ended. */
bool run_dir_is_broken_off(const struct run_dir *dir);

#endif
