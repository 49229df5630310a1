/* What a task's branch is called. */
#ifndef CODEX_ORCHESTRATOR_BRANCH_H
#define CODEX_ORCHESTRATOR_BRANCH_H

#include "task/task.h"

/* The NUMBERth choice (1, 2 …): what was asked for, else feat/<slug> with -2, -3 … behind it. The
 * slug is of the agent's branch, else of its title, else of the prompt; without a letter or digit
 * in any of them, the task's id. The caller frees. */
char *branch_name(const struct task *task, int64_t number);

#endif
