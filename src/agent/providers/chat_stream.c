/*
 * Chat Completions: the stream of chunks that is an answer.
 *
 * Nothing is whole before the end: content, thoughts and calls come in pieces and are put together
 * into one message. The stream ends with a chunk that has a `finish_reason`, one with the usage,
 * and `[DONE]`; where a server leaves the last out, the body's own end does. A body that is one
 * JSON object is the completion itself.
 *
 * Servers differ: Ollama gives every call the index 0, and Google's none at all (a new id with a
 * new name begins a new call); some tell the arguments as an object; Azure sends chunks with
 * neither choices nor deltas about its filter.
 */
#include "agent/providers/chat_message.h"

#include <stdio.h>
#include <string.h>

/* ---- the end */

static const struct {
    const char *reason;
    enum { ENDS_WHOLE, ENDS_WITH_CALLS, ENDS_CUT, ENDS_FILTERED, ENDS_OVERLOADED } meaning;
} reasons[] = {
    {"stop", ENDS_WHOLE},
    {"end_turn", ENDS_WHOLE},
    {"eos", ENDS_WHOLE},
    {"tool_calls", ENDS_WITH_CALLS},
    {"length", ENDS_CUT},
    {"max_tokens", ENDS_CUT},
    {"model_length", ENDS_CUT}, /* Mistral */
    {"content_filter", ENDS_FILTERED},
    {"insufficient_system_resource", ENDS_OVERLOADED}, /* DeepSeek */
};

static void finish_whole(struct chat_answer *answer, bool with_calls)
{
    if (with_calls && !answer->calls_count)
        body_lose(&answer->body, "it ends for calls that it does not hold");
    chat_message_finish(answer);
    body_finish(&answer->body);
}

static void finish(struct chat_answer *answer)
{
    struct answer *base = &answer->body.base;
    char why[128];
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (strcmp(answer->finish_reason, reasons[i].reason) != 0)
            continue;
        if (reasons[i].meaning == ENDS_CUT) {
            body_cut_short(&answer->body);
        } else if (reasons[i].meaning >= ENDS_FILTERED) {
            bool filtered = reasons[i].meaning == ENDS_FILTERED;
            base->state = ANSWER_FAILED;
            failure_set(&base->failure, filtered ? FAILURE_FILTERED : FAILURE_OVERLOADED,
                        filtered ? "the provider's content filter stopped the model's answer"
                                 : "the model server had no room to finish its answer");
        } else {
            finish_whole(answer, reasons[i].meaning == ENDS_WITH_CALLS);
        }
        return;
    }
    snprintf(why, sizeof why, "it ended for an unknown reason, '%s'", answer->finish_reason);
    body_fail(&answer->body, why);
}

/* ---- chunks */

static void take_usage(struct chat_answer *answer, const json_t *usage)
{
    if (!json_is_object(usage))
        return;
    int64_t cached = body_figure(json_object_get(usage, "prompt_tokens_details"), "cached_tokens");
    answer->body.base.response.usage = (struct token_usage){
        .input_tokens = body_figure(usage, "prompt_tokens"),
        .cached_input_tokens = cached ? cached : body_figure(usage, "prompt_cache_hit_tokens"),
        .output_tokens = body_figure(usage, "completion_tokens"),
        .reasoning_output_tokens =
            body_figure(json_object_get(usage, "completion_tokens_details"), "reasoning_tokens"),
    };
}

/* NAME: what holds its message, "delta" in a stream. */
static void take_choice(struct chat_answer *answer, const json_t *choice, const char *name)
{
    const json_t *delta = json_object_get(choice, name);
    if (json_integer_value(json_object_get(choice, "index")) != 0)
        return; /* only one was asked for */
    if (json_is_object(delta))
        chat_message_take(answer, delta);
    else if (!json_object_get(choice, "content_filter_results") &&
             !json_object_get(choice, "content_filter_offsets"))
        body_lose(&answer->body, "a choice that says nothing");
    const char *reason = json_string_value(json_object_get(choice, "finish_reason"));
    if (reason && *reason)
        snprintf(answer->finish_reason, sizeof answer->finish_reason, "%s", reason);
}

/* A chunk, or the whole completion. */
static void take_chunk(struct chat_answer *answer, const json_t *chunk, const char *name)
{
    const json_t *choices = json_object_get(chunk, "choices");
    const json_t *usage = json_object_get(chunk, "usage");
    size_t i;
    json_t *choice;
    if (!json_is_array(choices) && !json_is_object(usage))
        body_lose(&answer->body, "an event without choices");
    json_array_foreach(choices, i, choice)
        take_choice(answer, choice, name);
    take_usage(answer, usage);
}

static bool is_error(const char *name, const json_t *event)
{
    const char *object = json_string_value(json_object_get(event, "object"));
    const json_t *error = json_object_get(event, "error");
    return (error && !json_is_null(error)) || !strcmp(name, "error") ||
           (object && !strcmp(object, "error"));
}

static void fail_for(struct body *body, const json_t *event)
{
    const json_t *error = json_object_get(event, "error");
    body_fail_for(body, error && !json_is_null(error) ? error : event);
}

static void on_event(struct body *body, const char *name, const json_t *event, struct json_span raw)
{
    if (is_error(name, event))
        fail_for(body, event);
    else
        take_chunk((struct chat_answer *)body, event, "delta");
}

static void on_end(struct body *body)
{
    struct chat_answer *answer = (struct chat_answer *)body;
    if (*answer->finish_reason)
        finish(answer);
}

/* "[DONE]" is no JSON. */
static bool skips(struct body *body, const struct sse_event *event)
{
    if (strcmp(event->data, "[DONE]") != 0)
        return false;
    on_end(body);
    if (body->base.state == ANSWER_OPEN)
        body_fail(body, body->lost ? body->why : "it ended without a finish_reason");
    return true;
}

static void on_object(struct body *body, const json_t *object, struct json_span raw)
{
    struct chat_answer *answer = (struct chat_answer *)body;
    if (is_error("", object)) {
        fail_for(body, object);
        return;
    }
    take_chunk(answer, object, "message");
    on_end(body);
    if (body->base.state == ANSWER_OPEN)
        body_fail(body, body->lost ? body->why : "it is a JSON object without a finish_reason");
}

static void release(struct body *body)
{
    chat_message_release((struct chat_answer *)body);
}

struct answer *chat_answer_new(void)
{
    static const struct body_reader reader = {
        .skips = skips, .event = on_event, .object = on_object, .end = on_end, .release = release};
    struct body *body = body_new(&reader, sizeof(struct chat_answer));
    chat_message_init((struct chat_answer *)body);
    return &body->base;
}
