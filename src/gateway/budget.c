#include "gateway/budget.h"

#include "base/json_text.h"

void budget_init(struct budget *budget, const struct gateway_config *config,
                 struct event_file *events)
{
    *budget = (struct budget){.events = events,
                              .is_limited = config->has_budget,
                              .limit = config->budget_tokens,
                              .used = config->used_tokens};
}

bool budget_allows(struct budget *budget)
{
    if (!budget->is_limited || budget->used < budget->limit)
        return true;
    if (!budget->told) {
        struct buf *line = event_begin(budget->events, "limit.hit", budget->phase);
        buf_appendf(line, ",\"limit\":\"budget\",\"figure\":%lld", (long long)budget->used);
        event_end(budget->events);
    }
    budget->told = true;
    return false;
}

void budget_count(struct budget *budget, const struct token_usage *usage, const char *note)
{
    /* METER_TOKENS_MAX a response: a run would need billions of responses to overflow this. */
    budget->used += usage->input_tokens + usage->output_tokens;
    struct buf *line = event_begin(budget->events, "model.usage", budget->phase);
    buf_appendf(line,
                ",\"usage\":{\"input_tokens\":%lld,\"cached_input_tokens\":%lld,"
                "\"output_tokens\":%lld,\"reasoning_output_tokens\":%lld}",
                (long long)usage->input_tokens, (long long)usage->cached_input_tokens,
                (long long)usage->output_tokens, (long long)usage->reasoning_output_tokens);
    if (note) {
        buf_append_str(line, ",\"note\":");
        json_text_cstring(line, note);
    }
    event_end(budget->events);
}
