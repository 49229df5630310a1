/*
 * Ask the configured model for one token, on the way that a task's requests take: a codex-gateway of
 * the usual configuration, started by the spawner, to which we are runner and sandbox. It reaches
 * the provider by the same code, with the same key, and keeps that key out of the answer.
 */
#ifndef CODEX_ORCHESTRATOR_PROBE_H
#define CODEX_ORCHESTRATOR_PROBE_H

#include <jansson.h>

#include "config/config.h"
#include "loop/loop.h"
#include "orchestrator/spawner.h"
#include "secrets/secrets.h"

struct probe;

struct probe_options { /* stays the caller's and outlives the probe */
    struct loop *loop;
    struct spawner *spawner;
    const struct config *config; /* names a model and a provider */
    const struct secrets *secrets;
};

/* FINDING as in GET /v1/doctor; it becomes the callee's. The probe no longer exists. */
typedef void probe_done_fn(void *arg, json_t *finding);

/* DONE is called once, never from within this function, within PROBE_MS. */
enum { PROBE_MS = 30000 };
struct probe *probe_start(const struct probe_options *options, probe_done_fn *done, void *arg);
void probe_drop(struct probe *probe); /* DONE is not called; NULL is fine */

#endif
