/*
 * What `codex doctor` wants to know of forges: whether each takes its token and, of one repository,
 * all that is checked when a task on it is handed in.
 */
#ifndef CODEX_ORCHESTRATOR_PROBE_FORGE_H
#define CODEX_ORCHESTRATOR_PROBE_FORGE_H

#include <jansson.h>

#include "orchestrator/orchestrator.h"

struct forge_probe;

/* FINDINGS: an array as in GET /v1/doctor; it becomes the callee's. */
typedef void forge_probe_done_fn(void *arg, json_t *findings);

/* REPO: the address of a remote repository, or NULL; UID asks for it. DONE is called once, never
 * from within this function, within FORGE_PROBE_MS. */
enum { FORGE_PROBE_MS = 30000 };
struct forge_probe *forge_probe_start(struct orchestrator *o, const char *repo, uint32_t uid,
                                      forge_probe_done_fn *done, void *arg);
struct forge_probe *forge_probe_next(const struct forge_probe *probe); /* of its orchestrator's */
void forge_probe_drop(struct forge_probe *probe); /* DONE is not called; NULL is fine */

#endif
