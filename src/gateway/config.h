/* gateway.json: what one run's gateway is told at its start (docs/protocols.md). */
#ifndef CODEX_GATEWAY_CONFIG_H
#define CODEX_GATEWAY_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "gateway/egress/policy.h"
#include "gateway/wire.h"

enum {
    CONFIG_HEADERS_MAX = 16,
    CONFIG_QUERY_MAX = 16,
    CONFIG_SECRETS_MAX = 8,   /* beside the key */
    CONFIG_SECRET_MAX = 4096, /* bytes of one; the key too */
};

/* A header or a parameter, both owned. */
struct config_pair {
    char *name, *value;
};

struct gateway_config {
    char *task;              /* for the log */
    const struct wire *wire; /* of a replay: the one that it is served on. NULL: no model, the
                                internet alone, for a sandbox of a person's own */
    bool is_replay;
    char *base_url; /* without a slash at its end; NULL for a replay */
    char *key;      /* NULL: the provider wants none */
    struct config_pair headers[CONFIG_HEADERS_MAX], query[CONFIG_QUERY_MAX]; /* of each request */
    size_t headers_count, query_count;
    char *secrets[CONFIG_SECRETS_MAX]; /* parts of those that no answer may repeat */
    size_t secrets_count;
    char *model;
    char *sandbox_key;
    bool has_budget;
    int64_t budget_tokens;
    int64_t used_tokens; /* by the task's earlier runs */
    int64_t first_byte_timeout_ms, idle_timeout_ms;
    struct egress_policy internet;
    bool repository_narrows; /* `internet`: nothing is let out before it is known how */
};

/* Read the whole of FD, and check every member. ERR_USAGE for what cannot be used. */
int gateway_config_read(struct gateway_config *config, int fd, struct err *err);
void gateway_config_release(struct gateway_config *config);

/* The configuration has a header of that name. */
bool gateway_config_has_header(const struct gateway_config *config, const char *name);

#endif
