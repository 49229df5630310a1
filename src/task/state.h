/*
 * The states of a task and the moves between them.
 *
 *     queued → preparing → baseline → working ⇄ verifying → delivering → completed
 *
 * A baseline that is known already is left out; a replaced run begins again at preparing; parked
 * stands beside every running state and leads back through queued. Failed and cancelled can be
 * reached from every state that has not ended (cancelled, from delivering, only until the push is
 * claimed: that is the orchestrator's to know). A task whose delivery failed may deliver again.
 */
#ifndef CODEX_TASK_STATE_H
#define CODEX_TASK_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "task/phase.h"

enum task_state {
    TASK_QUEUED,
    TASK_PREPARING,
    TASK_BASELINE,
    TASK_WORKING,
    TASK_VERIFYING,
    TASK_DELIVERING,
    TASK_PARKED,
    TASK_COMPLETED,
    TASK_FAILED,
    TASK_CANCELLED,
    TASK_STATE_COUNT,
};

const char *task_state_name(enum task_state state);

/* Returns 0, or -EINVAL when NAME is no state's. */
int task_state_parse(const char *name, enum task_state *out);

bool task_state_ended(enum task_state state);   /* completed, failed, cancelled */
bool task_state_running(enum task_state state); /* has a run: preparing to verifying */

/* Whether a task may go from FROM to TO. Staying is no move. */
bool task_state_may_move(enum task_state from, enum task_state to);

/* The state that a task is in while its run goes through PHASE; false for finishing and unknown
 * ones, which change nothing. */
bool task_state_of_phase(uint32_t phase, enum task_state *out);

#endif
