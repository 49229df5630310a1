/* What sandbox.c and sandbox_step.c share. */
#ifndef CODEX_SANDBOX_SANDBOX_INTERNAL_H
#define CODEX_SANDBOX_SANDBOX_INTERNAL_H

#include "sandbox/sandbox.h"
#include "sandbox/uid_range.h"

struct sandbox_running; /* a step that has not ended */

struct sandbox {
    struct sandbox_host *host;
    struct sandbox_limits limits;
    struct uid_range range;
    int users_fd;                  /* its user namespace */
    char directory[64];            /* the bundle, in the private directory */
    char cgroup[CGROUP_PATH_SIZE]; /* path below each hierarchy */
    char id[CGROUP_PATH_SIZE];     /* the runtime's name for it */
    pid_t init;                    /* process 1, a child of ours; 0: none */
    bool init_was_killed;          /* it has ended, by SIGKILL */
    int init_pidfd;
    int ready_fd; /* ends when process 1 runs its own program; -1: it does, or there is none */
    struct loop_source *init_source;
    struct sandbox_running *steps;
    unsigned steps_count; /* so far: names their files */
};

/* Forget the steps: their callbacks are not called. */
void sandbox_drop_steps(struct sandbox *sandbox);

/* ERR tells why a call failed: when that is because somebody has killed process 1, its code becomes
 * ERR_KILLED. Returns the code. */
int sandbox_failed(const struct sandbox *sandbox, struct err *err);

/* Run the OCI runtime for it, see runtime.h. PROFILE: of the process that comes of it; NULL: none
 * does. */
int sandbox_run_runtime(const struct sandbox *sandbox, const char *command, const char *const *args,
                        const struct process_fd *fds, size_t fds_count,
                        const enum sandbox_profile *profile, struct err *err);

/* The pid in FILE, which the runtime wrote. */
int sandbox_read_pid(const char *file, pid_t *pid, struct err *err);

#endif
