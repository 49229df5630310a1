/* The phases of a run, as the runner goes through them and the event file names them. */
#ifndef CODEX_TASK_PHASE_H
#define CODEX_TASK_PHASE_H

#include <stdint.h>

enum phase {
    PHASE_PREPARING,
    PHASE_BASELINE,
    PHASE_WORKING,
    PHASE_VERIFYING,
    PHASE_FINISHING, /* after the work: archive and clean-up; the task is not in a state of this
                        name */
    PHASE_COUNT,
};

/* "preparing" …; "unknown" for anything else. */
const char *phase_name(uint32_t phase);

/* The phase of that name; PHASE_COUNT for NULL and for anything else. */
enum phase phase_parse(const char *name);

/* Whose fault it is that a task failed. FAULT_NONE has no name in JSON. */
enum fault_kind {
    FAULT_NONE,
    FAULT_PLATFORM,
    FAULT_ENVIRONMENT,
    FAULT_MODEL,
    FAULT_AGENT,
    FAULT_LIMIT,
    FAULT_USER,
    FAULT_COUNT,
};

const char *fault_kind_name(uint32_t kind);

/* FAULT_NONE for NULL, FAULT_COUNT for what is no kind's name. */
enum fault_kind fault_kind_parse(const char *name);

/* How a run ended. */
enum run_outcome { RUN_DONE, RUN_CANCELLED, RUN_FAILED, RUN_OUTCOME_COUNT };

const char *run_outcome_name(uint32_t outcome);

/* RUN_OUTCOME_COUNT for NULL and for what is no outcome's name. */
enum run_outcome run_outcome_parse(const char *name);

#endif
