/*
 * The OCI runtime: which one it is and what it takes, and running it by argv, with a deadline, its
 * complaint as the error. crun and runc are the ones that sandboxes are tried with; any other is
 * refused, because what a runtime does not know of a configuration it leaves out without a word, and
 * that may be the policy for system calls.
 */
#ifndef CODEX_SANDBOX_RUNTIME_H
#define CODEX_SANDBOX_RUNTIME_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/process.h"

/* A kind of runtime: what differs between them. */
struct runtime_kind {
    const char *name;            /* as `--version` begins: "NAME version MAJOR.MINOR…" */
    unsigned major, minor;       /* the oldest that sandboxes were tried with */
    const char *option;          /* for cgroups without systemd; NULL: none is needed */
    const char *option_rootless; /* for no cgroups at all; NULL: it cannot do without */
    const char *log_message;     /* what stands before the message in a line of its log */
    bool message_is_quoted;
    /* What its message has when one of its own processes, which it has reaped itself, does not answer
     * any more: somebody has ended it, who cannot be in the sandbox. NULL: not known. */
    const char *const *lost;
    /* It would set a process's resource limits from outside (prlimit), which needs CAP_SYS_RESOURCE,
     * because the user namespace is not of its making: they are its own instead, and inherited. */
    bool inherits_limits;
    bool takes_bpf; /* a seccomp filter as it is, by an annotation; else the policy as JSON */
};

struct runtime {
    const char *program; /* a name in PATH, or a path */
    const struct runtime_kind *kind;
    bool rootless;
    char version[128]; /* the first line that `--version` prints */
};

/* Ask PROGRAM what it is. ROOTLESS: it is to run for an ordinary user. The string must outlive RUNTIME. ERR_NOT_FOUND when it cannot be run,
 * ERR_REFUSED when sandboxes would not be what they should be with it. */
int runtime_find(struct runtime *runtime, const char *program, bool rootless, struct err *err);

/* A resource limit, soft and hard. */
struct runtime_limit {
    const char *name;
    int resource;
    uint64_t value;
};
enum { RUNTIME_LIMITS_MAX = 3 };

struct runtime_call {
    const struct runtime *runtime;
    const char *directory; /* private: the runtime's state, log and temporary files are in it */
    const char *command;
    const char *const *args; /* NULL at the end */
    const struct process_fd *fds;
    size_t fds_count;
    const struct runtime_limit *limits; /* for who inherits them */
    size_t limits_count;
};

/* Run it, and wait for it. An exit status other than 0 is an error with the runtime's last line; so
 * is one that takes longer than a minute: it is killed. ERR_KILLED when somebody else did that, to it or to a
 * process that it has left to us; the caller is a subreaper. */
int runtime_run(const struct runtime_call *call, struct err *err);

#endif
