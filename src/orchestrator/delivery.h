/* Between the files of the delivery: its steps, and what becomes of one. */
#ifndef CODEX_ORCHESTRATOR_DELIVERY_H
#define CODEX_ORCHESTRATOR_DELIVERY_H

#include "orchestrator/internal.h"

/* A step's outcome, written in one transaction with what follows from it. */
typedef int outcome_fn(struct job *job, const struct task *task, struct outbox *row,
                       const void *arg, struct err *err);

/* Read task and row again (they may have changed while the step ran), let FN write, go on. */
void delivery_write(struct job *job, outcome_fn *fn, const void *arg);

/* The following are for an outcome_fn. */

/* The task becomes TO. */
int delivery_end(struct job *job, const struct task *task, enum task_state to, const char *reason,
                 const struct fault *fault, struct err *err);

/* Failed in delivering; what was done is kept. Takes MESSAGE over. */
int delivery_fail(struct job *job, const struct task *task, const struct outbox *row,
                  enum fault_kind kind, char *message, struct err *err);

/* The step neither succeeded nor failed for good: 1 when it is to be tried again, after a pause. */
int delivery_try_again(struct job *job, const struct task *task, struct outbox *row, int tries_max,
                       struct err *err);

/* delivery_base.c: what the base branch has got meanwhile. What git cannot find out is no reason to
 * deliver later, or not at all; what cannot even begin (the spawner is gone, the disk is full) is
 * tried again. */
void delivery_look_at_base(struct job *job, const struct task *task);

/* delivery_request.c: the pull request. */
int delivery_open_request(struct job *job, const struct task *task, struct err *err);

#endif
