#include "task/state.h"

#include <errno.h>
#include <string.h>

static const char *const names[TASK_STATE_COUNT] = {
    [TASK_QUEUED] = "queued",       [TASK_PREPARING] = "preparing",
    [TASK_BASELINE] = "baseline",   [TASK_WORKING] = "working",
    [TASK_VERIFYING] = "verifying", [TASK_DELIVERING] = "delivering",
    [TASK_PARKED] = "parked",       [TASK_COMPLETED] = "completed",
    [TASK_FAILED] = "failed",       [TASK_CANCELLED] = "cancelled",
};

#define TO(state) (1u << TASK_##state)
enum {
    GIVE_UP = TO(FAILED) | TO(CANCELLED),
    /* From every running state: ending without a change to deliver, parking, a new run. */
    LEAVE = GIVE_UP | TO(COMPLETED) | TO(DELIVERING) | TO(PARKED) | TO(PREPARING),
};

static const unsigned moves[TASK_STATE_COUNT] = {
    [TASK_QUEUED] = TO(PREPARING) | GIVE_UP,
    [TASK_PREPARING] = (LEAVE & ~TO(PREPARING)) | TO(BASELINE) | TO(WORKING) | TO(VERIFYING),
    [TASK_BASELINE] = LEAVE | TO(WORKING),
    [TASK_WORKING] = LEAVE | TO(VERIFYING),
    [TASK_VERIFYING] = LEAVE | TO(WORKING),
    [TASK_DELIVERING] = TO(COMPLETED) | GIVE_UP,
    [TASK_PARKED] = TO(QUEUED) | GIVE_UP,
    [TASK_FAILED] = TO(DELIVERING),
};

const char *task_state_name(enum task_state state)
{
    return (unsigned)state < TASK_STATE_COUNT ? names[state] : "unknown";
}

int task_state_parse(const char *name, enum task_state *out)
{
    for (unsigned state = 0; state < TASK_STATE_COUNT; state++) {
        if (strcmp(names[state], name))
            continue;
        *out = state;
        return 0;
    }
    return -EINVAL;
}

bool task_state_ended(enum task_state state)
{
    return state == TASK_COMPLETED || state == TASK_FAILED || state == TASK_CANCELLED;
}

bool task_state_running(enum task_state state)
{
    return state >= TASK_PREPARING && state <= TASK_VERIFYING;
}

bool task_state_may_move(enum task_state from, enum task_state to)
{
    if ((unsigned)from >= TASK_STATE_COUNT || (unsigned)to >= TASK_STATE_COUNT)
        return false;
    return moves[from] >> to & 1;
}

bool task_state_of_phase(uint32_t phase, enum task_state *out)
{
    switch (phase) {
    case PHASE_PREPARING:
        *out = TASK_PREPARING;
        return true;
    case PHASE_BASELINE:
        *out = TASK_BASELINE;
        return true;
    case PHASE_WORKING:
        *out = TASK_WORKING;
        return true;
    case PHASE_VERIFYING:
        *out = TASK_VERIFYING;
        return true;
    default:
        return false;
    }
}
