/*
 * The platform's steps inside a sandbox, `codex-agent checkout|setup|test|commit|archive`: what they
 * share. Descriptors, task.json and results are in docs/protocols.md, "Steps in the sandbox".
 *
 * A step may be started as the container's root or as the task's user. Git and the task's own
 * commands run as the user; a step started as anybody else keeps that uid. With --as-root (`test`,
 * `commit`) the task's commands are root's.
 */
#ifndef CODEX_WORKSPACE_STEP_H
#define CODEX_WORKSPACE_STEP_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

enum step_fd {
    STEP_FD_TASK = 0,
    STEP_FD_RESULT = 3,
    STEP_FD_BASE = 4, /* base bundle; test: the baseline's list of tests */
    STEP_FD_DATA = 5, /* work bundle (in or out), archive (out), list of tests (out) */
    STEP_FD_LAST = 6,
};

enum { STEP_RESULT_MAX = 65536 }; /* bytes */

struct step {
    json_t *json; /* owned: the strings below are its */
    const char *workdir;
    const char *base, *base_commit;
    const char *prompt;
    const char *test_command;  /* NULL: find it */
    const char *setup_command; /* NULL: find what there is to do */
    const char *author_name, *author_email;
    int64_t test_timeout_ms;
    int64_t commit_time; /* seconds since the epoch */
    bool as_root;        /* started with --as-root: the task's commands are the container's root */
    bool given[STEP_FD_LAST + 1]; /* which descriptors the step was started with */
};

/* Read and check task.json; take note of the descriptors. The result's must be there. Closed ones
 * are occupied, so that nothing that is opened later can be taken for them. Release it also after a
 * failure. */
int step_begin(struct step *step, struct err *err);
void step_release(struct step *step);

/* Whether there is something to read at descriptor FD: it was given, and is more than the empty
 * file that a runtime may put where nothing was meant to be. */
bool step_has_input(const struct step *step, enum step_fd fd);

/* Become the task's user for good, if started as root. */
int step_drop(struct err *err);

/* Who the task's commands run as: the task's user when started as root, else whoever we are. */
uid_t step_user(void);

/* RESULT as the step's result. */
int step_write_result(const struct buf *result, struct err *err);

/* A line of the log, "note: TEXT", whatever bytes are in TEXT; bounded. */
void step_note(const char *text);

/* The directory that the workdir is in; the caller frees it. */
char *step_parent(const struct step *step);

/* main() of a step: `codex-agent NAME [--as-root]`. RUN returns the exit status
 * (task/exit.h), or negative, which is printed and becomes FAILURE. */
int step_main(int argc, char **argv, int (*run)(struct step *step, struct err *err), int failure);

#endif
