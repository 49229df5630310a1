/* What the lines of an event file do to the store. */
#ifndef CODEX_ORCHESTRATOR_APPLY_H
#define CODEX_ORCHESTRATOR_APPLY_H

#include "orchestrator/follow.h"

/* A follow_lines_fn; ARG is a struct job. */
int apply_lines(void *arg, const char *lines, size_t len, int64_t offset, size_t *consumed,
                bool *ended, struct err *err);

#endif
