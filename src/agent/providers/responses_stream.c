/*
 * The Responses API: the stream of events that is an answer.
 *
 * Items count when they are whole: as `response.output_item.done` brings them, or, from servers
 * that send none, as the final `response.completed` lists them. The deltas are not needed for that,
 * and events of unknown type never are. An answer is used only after its terminal event; what was
 * lost on the way (a malformed event may have been an item) makes it broken, unless the final list
 * has it.
 */
#include "agent/providers/body.h"
#include "agent/providers/responses.h"

#include <string.h>

#include "base/str.h"

static void take_final_list(struct body *body, const json_t *output, struct json_span raw)
{
    response_drop_items(&body->base.response);
    body->item_bytes = 0;
    body->lost = false; /* the list has what was lost */
    struct json_span element;
    size_t offset = 0, i = 0;
    while (body->base.state == ANSWER_OPEN && json_text_element(raw, &offset, &element))
        body_take_item(body, &provider_responses, json_array_get(output, i++), element);
}

static void read_usage(struct token_usage *usage, const json_t *response)
{
    const json_t *json = json_object_get(response, "usage");
    *usage = (struct token_usage){
        .input_tokens = body_figure(json, "input_tokens"),
        .cached_input_tokens =
            body_figure(json_object_get(json, "input_tokens_details"), "cached_tokens"),
        .output_tokens = body_figure(json, "output_tokens"),
        .reasoning_output_tokens =
            body_figure(json_object_get(json, "output_tokens_details"), "reasoning_tokens"),
    };
}

/* OBJECT: the response. RAW: the bytes of it, or of the event that it is a member of. */
static void on_completed(struct body *body, const json_t *object, struct json_span raw)
{
    struct response *response = &body->base.response;
    const json_t *output = json_object_get(object, "output");
    size_t count = json_array_size(output);
    if (count && (count > response->count || body->lost) &&
        (body->kind == BODY_OBJECT || json_text_member(raw, "response", &raw)) &&
        json_text_member(raw, "output", &raw))
        take_final_list(body, output, raw);
    read_usage(&response->usage, object);
    body_finish(body);
}

static void on_incomplete(struct body *body, const json_t *object)
{
    const char *reason =
        json_string_value(json_object_get(json_object_get(object, "incomplete_details"), "reason"));
    read_usage(&body->base.response.usage, object);
    body_cut_short(body);
    if (reason && !strcmp(reason, "max_output_tokens"))
        return;
    body->base.state = ANSWER_FAILED;
    bool filtered = reason && !strcmp(reason, "content_filter");
    failure_set(&body->base.failure, filtered ? FAILURE_FILTERED : FAILURE_BROKEN_STREAM,
                filtered ? "the provider's content filter stopped the model's answer"
                         : "the model's answer is incomplete: %s",
                reason ? reason : "no reason given");
}

/* Some servers give the error as a member of its event, some as the event, with a type of its own
 * or none. */
static bool is_error(const char *name, const char *type, const json_t *event)
{
    return !strcmp(name, "error") ||
           (type ? !strcmp(type, "error") : json_object_get(event, "error") != NULL);
}

static void on_item_done(struct body *body, const json_t *event, struct json_span raw)
{
    struct json_span item;
    if (json_text_member(raw, "item", &item))
        body_take_item(body, &provider_responses, json_object_get(event, "item"), item);
    else
        body_lose(body, "an item is missing from its event");
}

/* Events that bring nothing of their own, and most of the bytes. */
static bool skips(struct body *body, const struct sse_event *event)
{
    const char *type = event->type;
    return str_ends_with(type, ".delta") || str_starts_with(type, "response.content_part.") ||
           str_starts_with(type, "response.reasoning_summary_part.") ||
           !strcmp(type, "response.output_item.added") || !strcmp(event->data, "[DONE]");
}

static void on_event(struct body *body, const char *name, const json_t *event, struct json_span raw)
{
    const char *type = json_string_value(json_object_get(event, "type"));
    const json_t *object = json_object_get(event, "response");
    const json_t *error = json_object_get(event, "error");
    if (is_error(name, type, event))
        body_fail_for(body, error ? error : event);
    else if (!type)
        body_lose(body, "an event has no type");
    else if (!strcmp(type, "response.output_item.done"))
        on_item_done(body, event, raw);
    else if (!strcmp(type, "response.completed") || !strcmp(type, "response.done"))
        on_completed(body, object, raw);
    else if (!strcmp(type, "response.incomplete"))
        on_incomplete(body, object);
    else if (!strcmp(type, "response.failed"))
        body_fail_for(body, json_object_get(object, "error"));
}

static void on_object(struct body *body, const json_t *object, struct json_span raw)
{
    const char *status = json_string_value(json_object_get(object, "status"));
    const json_t *error = json_object_get(object, "error");
    if (error && !json_is_null(error))
        body_fail_for(body, error);
    else if (status && !strcmp(status, "incomplete"))
        on_incomplete(body, object);
    else if (!json_is_array(json_object_get(object, "output")))
        body_fail(body, "it is a JSON object without output");
    else if (status && strcmp(status, "completed") != 0)
        body_fail(body, "it is a response that is not complete");
    else
        on_completed(body, object, raw);
}

struct answer *responses_answer_new(void)
{
    static const struct body_reader reader = {
        .skips = skips, .event = on_event, .object = on_object};
    return &body_new(&reader, sizeof(struct body))->base;
}
