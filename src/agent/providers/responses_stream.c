/*
 * The Responses API: the stream of events that is an answer.
 *
 * Items count when they are whole: as `response.output_item.done` brings them, or, from servers
 * that send none, as the final `response.completed` lists them. The deltas are not needed for that,
 * and events of unknown type never are. An answer is used only after its terminal event; what was
 * lost on the way (a malformed event may have been an item) makes it broken, unless the final list
 * has it. A body that is one JSON object is the response itself, from a server that does not
 * stream.
 */
#include "agent/providers/responses.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "http/sse.h"

enum { STREAM_MAX_BYTES = 256 << 20 }; /* of one answer, deltas and all */

struct responses_answer {
    struct answer base; /* first: a provider's answer starts with it */
    enum { BODY_UNKNOWN, BODY_STREAM, BODY_OBJECT } body;
    struct sse sse;
    struct buf object;
    size_t stream_bytes;
    size_t item_bytes;
    bool lost;     /* an event could not be read */
    char why[800]; /* the first that could not */
};

struct answer *responses_answer_new(void)
{
    struct responses_answer *answer = calloc(1, sizeof *answer);
    if (!answer)
        abort();
    sse_init(&answer->sse, ANSWER_MAX_BYTES);
    buf_init(&answer->object, ANSWER_MAX_BYTES);
    return &answer->base;
}

void responses_answer_free(struct answer *base)
{
    struct responses_answer *answer = (struct responses_answer *)base;
    if (!answer)
        return;
    response_release(&answer->base.response);
    sse_release(&answer->sse);
    buf_release(&answer->object);
    free(answer);
}

static void fail(struct responses_answer *answer, const char *why)
{
    answer->base.state = ANSWER_FAILED;
    failure_set(&answer->base.failure, FAILURE_BROKEN_STREAM, "the model's answer is broken: %s",
                why);
}

static void lose(struct responses_answer *answer, const char *why)
{
    if (!answer->lost)
        snprintf(answer->why, sizeof answer->why, "%s", why);
    answer->lost = true;
}

/* An item whose raw bytes are RAW joins the response. */
static void take_item(struct responses_answer *answer, const json_t *json, struct json_span raw)
{
    struct item item;
    struct err err;
    answer->item_bytes += raw.len;
    if (answer->item_bytes > ANSWER_MAX_BYTES || answer->base.response.count >= ANSWER_MAX_ITEMS) {
        fail(answer, "it is too large");
        return;
    }
    if (responses_read_item(&item, json, raw, &err) < 0)
        lose(answer, err.message);
    else
        response_add(&answer->base.response, &item);
    item_release(&item);
}

static void take_final_list(struct responses_answer *answer, const json_t *output,
                            struct json_span raw)
{
    response_drop_items(&answer->base.response);
    answer->item_bytes = 0;
    answer->lost = false; /* the list has what was lost */
    struct json_span element;
    size_t offset = 0, i = 0;
    while (answer->base.state == ANSWER_OPEN && json_text_element(raw, &offset, &element))
        take_item(answer, json_array_get(output, i++), element);
}

static int64_t figure(const json_t *object, const char *name)
{
    json_int_t n = json_integer_value(json_object_get(object, name));
    return n > 0 && n < (1LL << 40) ? n : 0;
}

static void read_usage(struct token_usage *usage, const json_t *response)
{
    const json_t *json = json_object_get(response, "usage");
    *usage = (struct token_usage){
        .input_tokens = figure(json, "input_tokens"),
        .cached_input_tokens =
            figure(json_object_get(json, "input_tokens_details"), "cached_tokens"),
        .output_tokens = figure(json, "output_tokens"),
        .reasoning_output_tokens =
            figure(json_object_get(json, "output_tokens_details"), "reasoning_tokens"),
    };
}

/* Two calls with one id cannot be answered apart. */
static bool ids_are_unique(const struct response *response)
{
    for (size_t i = 0; i < response->count; i++)
        for (size_t j = 0; j < i; j++)
            if (response->items[i].kind == ITEM_CALL && response->items[j].kind == ITEM_CALL &&
                !strcmp(response->items[i].call_id, response->items[j].call_id))
                return false;
    return true;
}

/* OBJECT: the response. RAW: the bytes of it, or of the event that it is a member of. */
static void on_completed(struct responses_answer *answer, const json_t *object,
                         struct json_span raw)
{
    struct response *response = &answer->base.response;
    const json_t *output = json_object_get(object, "output");
    size_t count = json_array_size(output);
    if (count && (count > response->count || answer->lost) &&
        (answer->body == BODY_OBJECT || json_text_member(raw, "response", &raw)) &&
        json_text_member(raw, "output", &raw))
        take_final_list(answer, output, raw);
    if (answer->base.state != ANSWER_OPEN)
        return;
    if (answer->lost) {
        fail(answer, answer->why);
        return;
    }
    if (!ids_are_unique(response)) {
        fail(answer, "two of its calls have the same id");
        return;
    }
    read_usage(&response->usage, object);
    answer->base.state = ANSWER_WHOLE;
}

static void on_incomplete(struct responses_answer *answer, const json_t *object)
{
    const char *reason =
        json_string_value(json_object_get(json_object_get(object, "incomplete_details"), "reason"));
    response_drop_items(&answer->base.response);
    read_usage(&answer->base.response.usage, object);
    if (reason && !strcmp(reason, "max_output_tokens")) {
        answer->base.state = ANSWER_CUT_SHORT;
        return;
    }
    answer->base.state = ANSWER_FAILED;
    bool filtered = reason && !strcmp(reason, "content_filter");
    failure_set(&answer->base.failure, filtered ? FAILURE_FILTERED : FAILURE_BROKEN_STREAM,
                filtered ? "the provider's content filter stopped the model's answer"
                         : "the model's answer is incomplete: %s",
                reason ? reason : "no reason given");
}

/* ERROR: {"code", "message"}, or a text. */
static void on_error(struct responses_answer *answer, const json_t *error)
{
    answer->base.state = ANSWER_FAILED;
    failure_from_error(&answer->base.failure, error);
}

/* Some servers give the error as a member of its event, some as the event, with a type of its own
 * or none. */
static bool is_error(const char *name, const char *type, const json_t *event)
{
    return !strcmp(name, "error") ||
           (type ? !strcmp(type, "error") : json_object_get(event, "error") != NULL);
}

static void on_item_done(struct responses_answer *answer, const json_t *event, struct json_span raw)
{
    struct json_span item;
    if (json_text_member(raw, "item", &item))
        take_item(answer, json_object_get(event, "item"), item);
    else
        lose(answer, "an item is missing from its event");
}

/* Events that bring nothing of their own, and most of the bytes. */
static bool can_be_skipped(const char *type)
{
    return str_ends_with(type, ".delta") || str_starts_with(type, "response.content_part.") ||
           str_starts_with(type, "response.reasoning_summary_part.") ||
           !strcmp(type, "response.output_item.added");
}

/* NAME: what the stream calls the event. */
static void dispatch(struct responses_answer *answer, const char *name, const json_t *event,
                     struct json_span raw)
{
    const char *type = json_string_value(json_object_get(event, "type"));
    const json_t *object = json_object_get(event, "response");
    const json_t *error = json_object_get(event, "error");
    if (is_error(name, type, event))
        on_error(answer, error ? error : event);
    else if (!type)
        lose(answer, "an event has no type");
    else if (!strcmp(type, "response.output_item.done"))
        on_item_done(answer, event, raw);
    else if (!strcmp(type, "response.completed") || !strcmp(type, "response.done"))
        on_completed(answer, object, raw);
    else if (!strcmp(type, "response.incomplete"))
        on_incomplete(answer, object);
    else if (!strcmp(type, "response.failed"))
        on_error(answer, json_object_get(object, "error"));
}

static int on_event(void *arg, const struct sse_event *sse)
{
    struct responses_answer *answer = arg;
    answer->base.events++;
    if (answer->base.state != ANSWER_OPEN) /* nothing behind the terminal event counts */
        return 0;
    if (can_be_skipped(sse->type) || !sse->data_len || !strcmp(sse->data, "[DONE]"))
        return 0;
    struct json_span raw = {sse->data, sse->data_len};
    json_error_t error;
    json_t *event = json_loadb(raw.at, raw.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (json_is_object(event))
        dispatch(answer, sse->type, event, raw);
    else
        lose(answer, "an event is not a JSON object");
    json_decref(event);
    return 0;
}

/* ---- a body that is no stream */

static void take_object(struct responses_answer *answer, const json_t *object, struct json_span raw)
{
    const char *status = json_string_value(json_object_get(object, "status"));
    const json_t *error = json_object_get(object, "error");
    if (error && !json_is_null(error))
        on_error(answer, error);
    else if (status && !strcmp(status, "incomplete"))
        on_incomplete(answer, object);
    else if (!json_is_array(json_object_get(object, "output")))
        fail(answer, "it is a JSON object without output");
    else if (status && strcmp(status, "completed") != 0)
        fail(answer, "it is a response that is not complete");
    else
        on_completed(answer, object, raw);
}

static void end_object(struct responses_answer *answer)
{
    struct json_span raw = {answer->object.data, answer->object.len};
    json_t *object = json_loadb(raw.at, raw.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (object)
        take_object(answer, object, raw);
    else
        fail(answer, "it is neither a stream of events nor a JSON object");
    json_decref(object);
}

/* ---- a body */

/* No line of a stream of events begins with a brace. */
static void decide(struct responses_answer *answer, const char *bytes, size_t len)
{
    size_t i = 0;
    while (i < len && memchr(" \t\r\n", bytes[i], 4))
        i++;
    if (i < len)
        answer->body = bytes[i] == '{' ? BODY_OBJECT : BODY_STREAM;
}

static void feed(struct responses_answer *answer, const char *bytes, size_t len)
{
    struct err err;
    if (answer->body == BODY_OBJECT) {
        answer->base.events++;
        if (buf_append(&answer->object, bytes, len) < 0)
            fail(answer, "it is too large");
    } else if (sse_feed(&answer->sse, bytes, len, on_event, answer, &err) < 0 &&
               answer->base.state == ANSWER_OPEN) {
        fail(answer, err.message);
    }
}

void responses_answer_feed(struct answer *base, const char *bytes, size_t len)
{
    struct responses_answer *answer = (struct responses_answer *)base;
    answer->stream_bytes += len;
    if (base->state == ANSWER_OPEN && answer->stream_bytes > STREAM_MAX_BYTES)
        fail(answer, "it does not end");
    if (answer->body == BODY_UNKNOWN)
        decide(answer, bytes, len);
    if (base->state == ANSWER_OPEN)
        feed(answer, bytes, len);
}

void responses_answer_end(struct answer *base)
{
    struct responses_answer *answer = (struct responses_answer *)base;
    if (base->state == ANSWER_OPEN && answer->body == BODY_OBJECT)
        end_object(answer);
    else if (base->state == ANSWER_OPEN)
        fail(answer, answer->lost ? answer->why : "the stream ended before its terminal event");
}
