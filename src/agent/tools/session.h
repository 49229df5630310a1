/*
 * A running command: its process, its terminal or pipe, and what it has printed.
 *
 * Its end comes in two steps. The process exits; then its output has to end too. Usually both come
 * at once. When a process in the background still holds the pipe, whatever the command itself
 * printed is in the pipe already: we read that, go on while more comes, and after SESSION_QUIET_MS
 * without any (or SESSION_DRAIN_MS in all) the command has ended. Waiting longer would be waiting
 * for nothing, not waiting at all would lose the first words of a server that was just put into the
 * background. After that the background's output is read and dropped, so that it neither blocks nor
 * dies of it.
 */
#ifndef CODEX_AGENT_TOOLS_SESSION_H
#define CODEX_AGENT_TOOLS_SESSION_H

#include "agent/tools/command.h"
#include "agent/tools/output.h"

enum {
    SESSION_KEPT_BYTES = 1 << 20,  /* of the output that the model has not seen yet */
    SESSION_SHOWN_BYTES = 1 << 16, /* of the whole output, for events */
    SESSION_INPUT_MAX = 1 << 16,   /* bytes written to a terminal and not yet read by it */
    SESSION_QUIET_MS = 200,
    SESSION_DRAIN_MS = 2000,
};

struct session;

struct session_watcher {
    void (*printed)(void *arg); /* there is more output */
    void (*ended)(void *arg);   /* `ended` is set; nothing more will come */
    void *arg;
};

struct session {
    pid_t pid; /* also its process group's and session's */
    bool tty;
    bool exited;          /* the process is gone, and reaped */
    bool ended;           /* and its output is over */
    int exit_code;        /* once exited: 128 + signal for one that a signal ended */
    struct output unread; /* for the model */
    struct output whole;  /* for events */

    /* private */
    struct loop *loop;
    struct session_watcher watcher;
    int fd;
    bool at_end; /* of the output */
    int64_t drain_until_ms;
    struct buf input;
    struct loop_source *child, *io, *quiet;
};

/* Start COMMAND. The session is freed with session_free(). */
struct session *session_start(const struct command *command, const struct session_watcher *watcher,
                              struct err *err);

/* Type BYTES into the terminal; -ENOSPC when it does not read what it got. */
int session_type(struct session *session, const char *bytes, size_t len, struct err *err);

/* To the command's process group, while its process lives. */
void session_signal(const struct session *session, int signal);

/* An ended session's pipe, when somebody in the background still holds it: the caller owns it then.
 * -1 otherwise. */
int session_take_fd(struct session *session);

/* The process, when it still lives, is neither ended nor reaped by us any more. NULL is fine. */
void session_free(struct session *session);

#endif
