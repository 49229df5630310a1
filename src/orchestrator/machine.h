/*
 * What `codex-runner --check` found on this machine: asked for by way of the spawner, since codexd
 * has no right to look, and remembered until it is asked again.
 */
#ifndef CODEX_ORCHESTRATOR_MACHINE_H
#define CODEX_ORCHESTRATOR_MACHINE_H

#include <stdbool.h>

#include <jansson.h>

#include "base/err.h"
#include "loop/loop.h"
#include "orchestrator/spawner.h"

struct machine;

typedef void machine_looked_fn(void *arg);

struct machine *machine_new(struct loop *loop, struct spawner *spawner);
void machine_free(struct machine *machine); /* nobody is told any more */

/* Look now; while it is looked at already, that one counts. LOOKED (NULL: nobody) is called once,
 * later, whatever became of it. */
void machine_look(struct machine *machine, machine_looked_fn *looked, void *arg);
/* When it is looked just now: call LOOKED when that has ended, or after WAIT_MS. False: it is not. */
bool machine_await(struct machine *machine, int64_t wait_ms, machine_looked_fn *looked, void *arg);
/* LOOKED with this ARG is not to be called. */
void machine_forget(struct machine *machine, const void *arg);

/* The findings of the last look, an array as in GET /v1/doctor, empty before the first. Owned by
 * MACHINE, until the next look ends. */
const json_t *machine_findings(const struct machine *machine);

/* ERR_SANDBOX, with the remedy, when something failed then; then it is looked again for the next
 * one who asks, unless that was just now. */
int machine_ready(struct machine *machine, struct err *err);

/* One finding; the caller owns it. STATUS: "ok", "warn", "fail". REMEDY may be NULL. */
json_t *finding_new(const char *check, const char *status, const char *remedy, const char *detail);

#endif
