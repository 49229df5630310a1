/* Starting one command of the model's as the sandbox user, with its output on a pipe or a pty. */
#ifndef CODEX_AGENT_TOOLS_COMMAND_H
#define CODEX_AGENT_TOOLS_COMMAND_H

#include <sys/resource.h>

#include "agent/tool.h"

/* What holds every command of the model's back; read once. */
struct command_limits {
    rlim_t processes; /* of the user: below the sandbox's pids.max, so that a fork bomb leaves the
                         agent able to fork. When no pids.max can be read: our own RLIMIT_NPROC,
                         which whoever starts the agent can set */
    char oom_score_adj[8]; /* above the agent's: when memory runs out, the command goes first */
};

int command_limits_read(struct command_limits *limits, struct err *err);

struct command {
    const struct tool_host *host;
    const struct command_limits *limits;
    const char *const *argv; /* argv[0] is looked up in PATH unless it has a slash */
    char *const *environment;
    const char *workdir; /* absolute; entered as the user */
    bool tty;
};

/* Start it in a session of its own. Returns the pid; *FD, which the caller closes, is non-blocking:
 * the reading end of a pipe that takes standard output and standard error (standard input is
 * /dev/null), or the master of a pty that the user owns. Every other descriptor is shut. */
pid_t command_start(const struct command *command, int *fd, struct err *err);

#endif
