/*
 * What the task has used of its token budget, and the events that say so: `model.usage` for each
 * response, `limit.hit` once the budget is used up.
 */
#ifndef CODEX_GATEWAY_BUDGET_H
#define CODEX_GATEWAY_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/config.h"
#include "gateway/event_file.h"
#include "gateway/meter.h"

struct budget {
    struct event_file *events;
    uint32_t phase; /* enum phase: where the run is */
    bool is_limited;
    int64_t limit, used; /* tokens, input and output together */
    bool told;
};

void budget_init(struct budget *budget, const struct gateway_config *config,
                 struct event_file *events);

/* May another request be made? The first "no" is an event. */
bool budget_allows(struct budget *budget);

/* Count one response. NOTE (may be NULL): why the figures are not what the provider counted. */
void budget_count(struct budget *budget, const struct token_usage *usage, const char *note);

#endif
