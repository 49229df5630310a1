#include "task/phase.h"

#include <string.h>

/* The index of NAME, or COUNT. */
static unsigned index_of(const char *const *names, unsigned count, const char *name)
{
    unsigned i = 0;
    while (i < count && (!name || strcmp(names[i], name)))
        i++;
    return i;
}

static const char *const phase_names[PHASE_COUNT] = {
    [PHASE_PREPARING] = "preparing", [PHASE_BASELINE] = "baseline",   [PHASE_WORKING] = "working",
    [PHASE_VERIFYING] = "verifying", [PHASE_FINISHING] = "finishing",
};

const char *phase_name(uint32_t phase)
{
    return phase < PHASE_COUNT ? phase_names[phase] : "unknown";
}

enum phase phase_parse(const char *name)
{
    return index_of(phase_names, PHASE_COUNT, name);
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

enum fault_kind fault_kind_parse(const char *name)
{
    return name ? index_of(fault_kind_names, FAULT_COUNT, name) : FAULT_NONE;
}

static const char *const run_outcome_names[RUN_OUTCOME_COUNT] = {
    [RUN_DONE] = "done",
    [RUN_CANCELLED] = "cancelled",
    [RUN_FAILED] = "failed",
};

const char *run_outcome_name(uint32_t outcome)
{
    return outcome < RUN_OUTCOME_COUNT ? run_outcome_names[outcome] : "unknown";
}

enum run_outcome run_outcome_parse(const char *name)
{
    return index_of(run_outcome_names, RUN_OUTCOME_COUNT, name);
}
