/* The two files that a run is given: task.json for the sandbox, gateway.json for its gateway. */
#ifndef CODEX_ORCHESTRATOR_RUN_CONFIG_H
#define CODEX_ORCHESTRATOR_RUN_CONFIG_H

#include "config/config.h"
#include "secrets/secrets.h"
#include "task/spawn.h"
#include "task/task.h"

enum { SANDBOX_KEY_SIZE = 48 };

/* The only key that a sandbox sees: random, good at its own gateway alone. */
void run_config_sandbox_key(char out[SANDBOX_KEY_SIZE]);

/* The directory below /workspace: the repository's own name, as far as it is a harmless one. */
void run_config_repo_name(const char *repo, char out[SPAWN_REPO_SIZE]);

/* Names everything that the task's environment layer is made from, and for whom: who names a
 * repository is not always let in by it. MODULES: modules_name(). The same again, the same layer.
 * The runner adds the image's key. */
void run_config_layer(const struct task *task, const struct config *config, const char *modules,
                      char out[SPAWN_LAYER_SIZE]);

/* Sealed memory files, in the shapes of docs/protocols.md. Return a descriptor. KEYS are the
 * provider's. */
int run_config_task(const struct task *task, const struct config *config,
                    const struct config_provider *provider, const char *sandbox_key,
                    struct err *err);
int run_config_gateway(const struct task *task, const struct config *config,
                       const struct config_provider *provider, const struct provider_secrets *keys,
                       const char *sandbox_key, struct err *err);

#endif
