/*
 * Running one command of the task's: as its user (set-up as root), in a session of its own, its
 * output passed on as it comes, and ended with everything that it started.
 */
#ifndef CODEX_WORKSPACE_SUPERVISE_H
#define CODEX_WORKSPACE_SUPERVISE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct supervised {
    const char *const *argv;
    const char *const *envp;
    const char *dir;
    int out_fd;       /* gets standard output and standard error, in the order of the writes */
    struct buf *tail; /* the end of it, as much as fits */
    void (*output)(void *arg, const char *bytes, size_t len); /* all of it; NULL: nobody asks */
    void *output_arg;
    int64_t deadline_ms; /* of clock_mono_ms() */
    bool as_root;        /* keep who we are and may: the sandbox's root, while dependencies are
                            installed */
};

struct supervised_end {
    int exit_code; /* -1 when it was a signal. 127: the program could not be started */
    int signal;    /* 0 when it exited */
    bool timed_out;
};

/* Run it to its end. At the deadline it gets SIGTERM, soon after SIGKILL. In a sandbox every
 * process of the user (with AS_ROOT, of anybody) is ended with it, elsewhere its process group. Negative only when it is not
 * known how the command ended. A reader of OUT_FD that is slow holds the command up, one that is
 * gone does not matter. */
int supervise(const struct supervised *what, struct supervised_end *end, struct err *err);

#endif
