/* A task, told to a person: what `status ID` prints and `--follow` ends with. */
#ifndef CODEX_CLI_REPORT_H
#define CODEX_CLI_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/buf.h"

/* Everything about TASK that there is to say at NOW_MS (since the epoch), in at most WIDTH columns
 * a line where it is the prompt's. */
void report_append(struct buf *out, const json_t *task, int64_t now_ms, size_t width, bool color);

/* How long TASK has taken so far, since it was handed in; negative when it does not say. */
int64_t task_elapsed_ms(const json_t *task, int64_t now_ms);

/* Exit status for somebody who waited for TASK's end: 0; 1 when it failed, was cancelled, or its
 * verdict is "failed". */
int task_exit_status(const json_t *task);

#endif
