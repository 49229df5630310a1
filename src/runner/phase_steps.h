/* What several phases do: sandboxes, and the steps in them that more than one phase needs. */
#ifndef CODEX_RUNNER_PHASE_STEPS_H
#define CODEX_RUNNER_PHASE_STEPS_H

#include "runner/run_internal.h"

/* -1 when the run was told to stop, or is lost. */
int run_go_on(const struct run *run);

/* A started sandbox for ROLE, over the layer BELOW (NULL: on the image alone), with its own in
 * DIRECTORY (NULL: where the run's are). NULL with a fault. */
struct sandbox *phase_open_sandbox(struct run *run, const char *role, const char *directory,
                                   const char *below, bool keep);

/* NULL is fine. */
void phase_close_sandbox(struct run *run, struct sandbox *sandbox);

/* A step that runs commands of the task, or ends them: `test`, `run`, `commit`. */
struct step phase_task_step(const struct run *run, const char *name, int64_t timeout_ms);

/* Check out the base, or the commit of WORK_BUNDLE (-1: none) over it. *EXIT_STATUS is the step's,
 * when it could be run; RESULT, which may be NULL, gets what it said. The base may want its commands
 * to be root's: run->as_root. Negative with a fault. */
int phase_checkout(struct run *run, struct sandbox *sandbox, int work_bundle, int *exit_status,
                   struct buf *result);

/* The fault of a step that failed while OUTCOME->full. Returns -1. */
int phase_disk_full(struct run *run, const char *what, const struct step_outcome *outcome);

/* The fault of a step that should have exited with 0. Returns -1. */
int phase_step_failed(struct run *run, const char *what, const struct step_outcome *outcome);

#endif
