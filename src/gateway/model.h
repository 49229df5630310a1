/*
 * The model listener: `http://127.0.0.1:64080/v1` in the sandbox. Who may ask for what; the calls
 * themselves are call.h's.
 */
#ifndef CODEX_GATEWAY_MODEL_H
#define CODEX_GATEWAY_MODEL_H

#include "gateway/budget.h"
#include "gateway/config.h"
#include "gateway/provider.h"
#include "loop/loop.h"

enum {
    MODEL_CONNECTIONS_MAX = 64,
    MODEL_CALLS_MAX = 16,
    MODEL_BODY_MAX = 64 << 20, /* bytes */
    MODEL_HEAD_TIMEOUT_MS = 5000,
    MODEL_BODY_TIMEOUT_MS = 60000,
    MODEL_WRITE_TIMEOUT_MS = 300000, /* an agent that was stopped for a while may come back */
    MODEL_LINGER_TIMEOUT_MS = 2000,
};

struct model;

/* CONFIG and BUDGET live as long as the model does; PROVIDER is freed by it. TROUBLE is told, for
 * the log, when the provider fails. */
struct model *model_new(struct loop *loop, const struct gateway_config *config,
                        struct budget *budget, const struct provider *provider,
                        void (*trouble)(void *arg, const char *message), void *arg);

/* Ends every call. NULL is fine. */
void model_free(struct model *model);

/* Listen on FD (owned from here on) instead of what was listened on before. */
int model_listen(struct model *model, int fd, struct err *err);

#endif
