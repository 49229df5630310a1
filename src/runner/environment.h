/*
 * The first part of preparing: the environment layer of the run (layer.h), found or made.
 */
#ifndef CODEX_RUNNER_ENVIRONMENT_H
#define CODEX_RUNNER_ENVIRONMENT_H

#include "runner/run_internal.h"

/* Have the layer that the run's sandboxes lie on. *EXIT_STATUS is that of the step that decided,
 * RESULT what it said. Negative with a fault, or when the run was told to stop. */
int environment_ensure(struct run *run, int *exit_status, struct buf *result);

/* Install in SANDBOX what the commit that is checked out there depends on, unless the layer has it
 * already. Returns an enum setup_exit; negative with a fault. */
int environment_setup(struct run *run, struct sandbox *sandbox, struct buf *result);

#endif
