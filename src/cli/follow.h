/*
 * Following a task to its end: live on a terminal, plain lines in a pipe, events as JSON. Ctrl-C
 * detaches: the task goes on.
 */
#ifndef CODEX_CLI_FOLLOW_H
#define CODEX_CLI_FOLLOW_H

#include <stdbool.h>

#include "base/err.h"
#include "cli/api.h"

struct follow_options {
    bool brief;        /* leave the output of commands out; see render.h */
    bool json;         /* one event a line, nothing else */
    bool json_task;    /* with `json`: the task at the end, as the last line */
    const char *phase; /* show only events of this phase; NULL: all */
};

/* Returns the exit status: 0 completed; 1 failed, cancelled, or with the verdict "failed"; 130
 * detached. Negative when it could not be followed to its end. */
int follow_task(struct api *api, const char *id, const struct follow_options *options,
                struct err *err);

#endif
