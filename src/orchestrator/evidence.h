/* What a test run in a sandbox says, as evidence of its task. Within a transaction. */
#ifndef CODEX_ORCHESTRATOR_EVIDENCE_H
#define CODEX_ORCHESTRATOR_EVIDENCE_H

#include "orchestrator/internal.h"
#include "orchestrator/run_event.h"

/* phase.completed of baseline or verifying was read. The lists of single tests, which the run has
 * left in its files, come from sandboxes: one that is not exactly as it should be counts as not
 * known. */
int evidence_take(struct job *job, const struct run_event *event, struct err *err);

#endif
