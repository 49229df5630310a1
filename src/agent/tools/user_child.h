/*
 * Touching files with the rights of the sandbox user: in a forked child that becomes that user,
 * since the agent itself may not write the user's files, and must not follow the user's links. What
 * the child finds it reports, within a bound on size and time, on the event loop.
 */
#ifndef CODEX_AGENT_TOOLS_USER_CHILD_H
#define CODEX_AGENT_TOOLS_USER_CHILD_H

#include "agent/tool.h"
#include "base/buf.h"

struct user_child;

/* What the child exits with when it could not become the user. */
enum { USER_CHILD_NOT_THE_USER = 126 };

/* In the child: the user's, with no descriptor but the report's. ARG is the parent's, copied by the
 * fork. What is in REPORT goes to the parent. */
typedef void user_child_work_fn(void *arg, struct buf *report);

/* The child has ended, and is gone: its wait status, and what came of its report. */
typedef void user_child_done_fn(void *arg, int wait_status, const struct buf *report);

struct user_child_options {
    user_child_work_fn *work;
    void *work_arg;
    size_t report_max;
    int64_t timeout_ms; /* then SIGKILL */
    user_child_done_fn *done;
    void *done_arg;
};

/* NULL when it could not be started. */
struct user_child *user_child_start(const struct tool_host *host,
                                    const struct user_child_options *options, struct err *err);

/* The agent ends: a moment is left for it to come to its end, rather than cut a file in two. `done`
 * is called as soon as it is gone. */
void user_child_stop(struct user_child *child);

/* Forget about it: `done` is not called. The child goes on. NULL is fine. */
void user_child_free(struct user_child *child);

#endif
