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

enum budget_answer budget_ask(struct budget *budget)
{
    if (!budget->is_limited)
        return BUDGET_YES;
    if (budget->used < budget->limit)
        return budget->under_way < budget->limit - budget->used ? BUDGET_YES : BUDGET_LATER;
    if (!budget->told)
        event_limit_hit(budget->events, budget->phase, "budget", (uint64_t)budget->used);
    budget->told = true;
    return BUDGET_NO;
}

/* Rounded up, so that nothing is free; and within what is believed of a provider, too. */
static int64_t tokens_of(uint64_t bytes)
{
    uint64_t tokens = bytes / BUDGET_BYTES_PER_TOKEN + (bytes % BUDGET_BYTES_PER_TOKEN != 0);
    return tokens < METER_TOKENS_MAX ? (int64_t)tokens : METER_TOKENS_MAX;
}

static int64_t tokens_of_request(const struct budget_hold *hold)
{
    int64_t images = tokens_of(hold->image_bytes);
    int64_t most = (int64_t)hold->images * BUDGET_IMAGE_TOKENS;
    return tokens_of(hold->request_bytes - hold->image_bytes) + (images < most ? images : most);
}

void budget_hold(struct budget *budget, struct budget_hold *hold)
{
    int64_t answer = tokens_of(hold->answer_bytes);
    int64_t tokens =
        tokens_of_request(hold) + (answer > BUDGET_ANSWER_TOKENS ? answer : BUDGET_ANSWER_TOKENS);
    budget->under_way += tokens - hold->tokens;
    hold->tokens = tokens;
}

void budget_release(struct budget *budget, struct budget_hold *hold)
{
    budget->under_way -= hold->tokens;
    hold->tokens = 0;
}

static void count(struct budget *budget, const struct token_usage *usage, const char *why)
{
    /* METER_TOKENS_MAX a response: a run would need billions of responses to overflow this. */
    budget->used += usage->input_tokens + usage->output_tokens;
    struct buf *line = event_begin(budget->events, "model.usage", budget->phase);
    buf_appendf(line,
                ",\"usage\":{\"input_tokens\":%lld,\"cached_input_tokens\":%lld,"
                "\"output_tokens\":%lld,\"reasoning_output_tokens\":%lld}",
                (long long)usage->input_tokens, (long long)usage->cached_input_tokens,
                (long long)usage->output_tokens, (long long)usage->reasoning_output_tokens);
    if (why) {
        buf_append_str(line, ",\"estimated\":true,\"note\":");
        json_text_cstring(line, why);
    }
    event_end(budget->events);
}

void budget_count(struct budget *budget, const struct token_usage *usage)
{
    count(budget, usage, NULL);
}

void budget_count_estimate(struct budget *budget, const struct budget_hold *hold, const char *why)
{
    struct token_usage usage = {.input_tokens = tokens_of_request(hold),
                                .output_tokens = tokens_of(hold->answer_bytes)};
    count(budget, &usage, why);
}
