/* What the parts of the spawner share: spawner.c (messages), spawner_run.c (runners),
 * spawner_git.c, spawner_helper.c. */
#ifndef CODEX_RUNNER_SPAWNER_INTERNAL_H
#define CODEX_RUNNER_SPAWNER_INTERNAL_H

#include <limits.h>
#include <stdbool.h>

#include "loop/loop.h"
#include "runner/clean.h"
#include "runner/run_dir.h"
#include "runner/shared_agent.h"
#include "runner/spawner.h"
#include "task/spawn.h"

struct spawner;

struct spawner_child {
    struct spawner *spawner;
    struct spawner_child *next;
    pid_t pid;
    struct loop_source *source, *timer;
    bool helper; /* neither of the following */
    /* a runner */
    char run_name[RUN_NAME_SIZE]; /* "" for codex-git */
    struct run_name name;
    unsigned agent_version;
    /* codex-git */
    uint32_t git_id;
    char scratch[PATH_MAX]; /* "" when it has none */
};

/* A live runner that another spawner started. */
struct spawner_adopted {
    struct spawner *spawner;
    struct spawner_adopted *next;
    int pidfd;
    struct loop_source *source;
    char run_name[RUN_NAME_SIZE];
    unsigned turn, run;
};

struct spawner {
    const struct spawner_options *options;
    struct loop *loop;
    struct loop_source *socket; /* NULL: codexd is gone */
    struct spawner_child *children;
    struct spawner_adopted *adopted;
    struct clean clean;
    struct shared_agent agent;
    char scratch[PATH_MAX];
    int scratch_lock;
    unsigned scratch_count;
};

void spawner_report(struct spawner *spawner, uint32_t type, const struct spawn_report *report);

/* SPAWN_FAILED; NAME may be NULL. */
void spawner_fail(struct spawner *spawner, const struct run_name *name, uint32_t id,
                  const struct err *err);

/* ENDED gets the struct spawner_child. NULL when PID cannot be watched; then it is ended. */
struct spawner_child *spawner_add_child(struct spawner *spawner, pid_t pid, loop_child_fn *ended,
                                        struct err *err);
void spawner_remove_child(struct spawner_child *child);

/* What the messages ask for, already checked. They answer by reports. */
void spawner_start_run(struct spawner *spawner, const struct spawn_run *run, const int *fds);
void spawner_cancel_run(struct spawner *spawner, const struct run_name *name);
void spawner_forget_run(struct spawner *spawner, const struct run_name *name);
void spawner_start_git(struct spawner *spawner, const struct spawn_git *git, const int *fds);
void spawner_end_git(struct spawner *spawner, uint32_t id);
void spawner_start_check(struct spawner *spawner, int out);
void spawner_start_gateway(struct spawner *spawner, const int *fds); /* enum spawn_gateway_fd */

/* Whether somebody executes run NAME: then his end is watched from now on. */
bool spawner_adopt_run(struct spawner *spawner, const char *name);
void spawner_drop_adopted(struct spawner *spawner);

#endif
