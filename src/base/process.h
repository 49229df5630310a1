/*
 * Starting programs: by argv, never through a shell; only the descriptors that are named reach the
 * child. Users and namespaces are changed by `prepare` and `namespaces`.
 */
#ifndef CODEX_BASE_PROCESS_H
#define CODEX_BASE_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

struct process_fd {
    int from; /* a descriptor of ours */
    int to;   /* its number in the child */
};

struct process_options {
    const char *const *argv; /* argv[0] is looked up in PATH unless it has a slash */
    const char *program;     /* run this under the name argv[0]; NULL: argv[0] */
    int program_fd; /* the same file, open: run this when the child's user may not reach it by
                       its path (a script cannot be run so); 0: none */
    const char *const *envp;      /* NULL: ours */
    const struct process_fd *fds; /* 0, 1 and 2 that are not named become /dev/null */
    size_t fds_count;
    const char *cwd; /* NULL: ours */
    bool new_session;
    int namespaces; /* CLONE_NEW… flags: the child is born in new ones */
    /* The child borrows our memory until exec (vfork), and we wait for that: spares the copy of the
     * page tables, which grows with the program. `prepare` must then not wait for us, and write to
     * no memory but its own stack and what its argument points to; we see the latter. */
    bool share_memory;
    /* Called in the child after the descriptors are in place, before exec; may be NULL. Returns 0
     * or -errno. Between fork and exec: async-signal-safe calls only. */
    int (*prepare)(void *arg);
    void *prepare_arg;
};

/* Start it. Returns the pid; a failed exec or prepare is reported here, by a pipe from the child.
 * Signals are reset to their defaults and unblocked in the child. */
pid_t process_spawn(const struct process_options *options, struct err *err);

/* waitpid that goes on after EINTR. Returns the wait status, or -errno. */
int process_wait(pid_t pid);

/* Run to the end with standard input INPUT (or /dev/null when -1). Standard output and standard
 * error go to OUT together when it is given (cut at its maximum, the rest read and dropped), else
 * to /dev/null. Returns the exit code, 128 + signal, or negative. For short-lived helpers only:
 * blocks. */
int process_run(const char *const *argv, int input, struct buf *out, struct err *err);

/* Standard descriptors (0 to 2) that were shut when we were started are opened on /dev/null the wrong way round,
 * so that no file of ours gets their number and their use fails as it would have. Call this first in main. */
void process_reserve_stdio(void);

/* The path of the running executable, as it was when this was first asked for ("" when unknown). */
const char *process_program_path(void);

/* The directory of the running executable, where our other programs are ("" when unknown). */
const char *process_program_dir(void);

/* Whether a program NAME that we may run is in one of the directories of PATH ("/usr/bin:/bin"). */
bool process_in_path(const char *path, const char *name);

#endif
