#include "task/phase.h"

static const char *const phase_names[PHASE_COUNT] = {
    [PHASE_PREPARING] = "preparing", [PHASE_BASELINE] = "baseline",   [PHASE_WORKING] = "working",
    [PHASE_VERIFYING] = "verifying", [PHASE_FINISHING] = "finishing",
};

const char *phase_name(uint32_t phase)
{
    return phase < PHASE_COUNT ? phase_names[phase] : "unknown";
}

static const char *const fault_kind_names[FAULT_COUNT] = {
    [FAULT_NONE] = "none",   [FAULT_PLATFORM] = "platform", [FAULT_ENVIRONMENT] = "environment",
    [FAULT_MODEL] = "model", [FAULT_AGENT] = "agent",       [FAULT_LIMIT] = "limit",
    [FAULT_USER] = "user",
};

const char *fault_kind_name(uint32_t kind)
{
    return kind < FAULT_COUNT ? fault_kind_names[kind] : "unknown";
}

static const char *const run_outcome_names[RUN_OUTCOME_COUNT] = {
    [RUN_DONE] = "done", [RUN_CANCELLED] = "cancelled", [RUN_FAILED] = "failed",
};

const char *run_outcome_name(uint32_t outcome)
{
    return outcome < RUN_OUTCOME_COUNT ? run_outcome_names[outcome] : "unknown";
}
