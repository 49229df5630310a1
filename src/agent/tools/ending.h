/*
 * Ending everything that the model's commands have started.
 *
 * A process can leave its session, its group and its parent, but not its user: a helper becomes the
 * sandbox user, and then kill(-1) means every process of it, itself excepted, in one system call
 * that no fork escapes. The agent cannot be among them. When commands run as ourselves (tests) or
 * as root, only the known process groups are ended.
 */
#ifndef CODEX_AGENT_TOOLS_ENDING_H
#define CODEX_AGENT_TOOLS_ENDING_H

#include "agent/tool.h"

enum { ENDING_POLITE_MS = 400 }; /* between SIGTERM and SIGKILL */

struct ending {
    const struct tool_host *host;
    void (*signal_known)(void *arg, int signal); /* to every process group that is known */
    void *arg;

    /* private */
    struct loop_source *helper, *timer;
    int tries;
    bool retrying; /* for want of a process to be had */
};

/* SIGTERM, and SIGKILL to what is left of it soon after. */
void ending_begin(struct ending *ending);

/* 1 while a helper is at it, or waits to be started again. */
size_t ending_running(const struct ending *ending);

void ending_release(struct ending *ending);

#endif
