/* gateway.json: what one run's gateway is told at its start (docs/protocols.md). */
#ifndef CODEX_GATEWAY_CONFIG_H
#define CODEX_GATEWAY_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "gateway/egress/policy.h"

enum gateway_wire {
    GATEWAY_WIRE_RESPONSES,
    GATEWAY_WIRE_REPLAY,
    GATEWAY_WIRE_NONE, /* no model: the internet alone, for a sandbox of a person's own */
};

struct gateway_config {
    char *task; /* for the log */
    enum gateway_wire wire;
    char *base_url; /* without a slash at its end; NULL for a replay */
    char *key;      /* NULL: the provider wants none */
    char *model;
    char *sandbox_key;
    bool has_budget;
    int64_t budget_tokens;
    int64_t used_tokens; /* by the task's earlier runs */
    int64_t first_byte_timeout_ms, idle_timeout_ms;
    struct egress_policy internet;
};

/* Read the whole of FD, and check every member. ERR_USAGE for what cannot be used. */
int gateway_config_read(struct gateway_config *config, int fd, struct err *err);
void gateway_config_release(struct gateway_config *config);

#endif
