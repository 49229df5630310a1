/*
 * The Messages API: the stream of events that is an answer (platform.claude.com/docs, "Streaming
 * messages").
 *
 *     message_start, for each block: content_block_start, content_block_delta …,
 *     content_block_stop; message_delta with the stop_reason; message_stop. Between any: ping.
 *
 * A block begins as an object and grows by its deltas. What grew goes back as it came; an input
 * that is no JSON object goes back within one. Unknown events, and unknown deltas, are ignored, as
 * the API's rules for versions want it; unknown blocks are kept. A body that is one JSON object is
 * the message itself.
 */
#include "agent/providers/messages.h"

#include <stdlib.h>
#include <string.h>

#include "agent/providers/body.h"
#include "agent/providers/item.h"
#include "base/cleanup.h"

/* What of a block grows by deltas. */
enum part { PART_TEXT, PART_THINKING, PART_SIGNATURE, PART_INPUT, PART_COUNT };

static const struct {
    const char *delta;  /* type of the delta */
    const char *value;  /* its member */
    const char *member; /* of the block */
} parts[PART_COUNT] = {
    [PART_TEXT] = {"text_delta", "text", "text"},
    [PART_THINKING] = {"thinking_delta", "thinking", "thinking"},
    [PART_SIGNATURE] = {"signature_delta", "signature", "signature"},
    [PART_INPUT] = {"input_json_delta", "partial_json", "input"},
};

struct block {
    json_int_t index;
    json_t *json; /* as it began; citations join it */
    struct buf grown[PART_COUNT];
    bool has_grown[PART_COUNT];
    bool stopped;
};

struct messages_answer {
    struct body body; /* first */
    bool started;
    struct block *blocks;
    size_t blocks_count;
    char stop_reason[48]; /* "": none yet */
    struct token_usage usage;
    int64_t cache_written, cache_read, uncached;
};

static void release(struct body *body)
{
    struct messages_answer *answer = (struct messages_answer *)body;
    for (size_t i = 0; i < answer->blocks_count; i++) {
        json_decref(answer->blocks[i].json);
        for (size_t n = 0; n < PART_COUNT; n++)
            buf_release(&answer->blocks[i].grown[n]);
    }
    free(answer->blocks);
}

/* ---- usage: input_tokens are those that no cache had, and every figure is of the whole so far */

static void take_figure(const json_t *usage, const char *name, int64_t *figure)
{
    if (json_is_integer(json_object_get(usage, name)))
        *figure = body_figure(usage, name);
}

static void take_usage(struct messages_answer *answer, const json_t *usage)
{
    take_figure(usage, "input_tokens", &answer->uncached);
    take_figure(usage, "cache_creation_input_tokens", &answer->cache_written);
    take_figure(usage, "cache_read_input_tokens", &answer->cache_read);
    take_figure(usage, "output_tokens", &answer->usage.output_tokens);
    take_figure(json_object_get(usage, "output_tokens_details"), "thinking_tokens",
                &answer->usage.reasoning_output_tokens);
    answer->usage.cached_input_tokens = answer->cache_read;
    answer->usage.input_tokens = answer->uncached + answer->cache_written + answer->cache_read;
    answer->body.base.response.usage = answer->usage;
}

/* ---- blocks */

static struct block *find_block(struct messages_answer *answer, const json_t *event)
{
    const json_t *index = json_object_get(event, "index");
    for (size_t i = 0; json_is_integer(index) && i < answer->blocks_count; i++)
        if (answer->blocks[i].index == json_integer_value(index))
            return &answer->blocks[i];
    return NULL;
}

static void on_block_start(struct messages_answer *answer, const json_t *event)
{
    struct body *body = &answer->body;
    json_t *block = json_object_get(event, "content_block");
    const json_t *index = json_object_get(event, "index");
    AUTO_FREE char *text = json_dumps(block, JSON_COMPACT);
    if (!answer->started || !json_is_object(block) || !json_is_integer(index) || !text) {
        body_lose(body, "a block begins without its index, content or message");
    } else if (find_block(answer, event)) {
        body_lose(body, "a block begins twice");
    } else if (answer->blocks_count >= ANSWER_MAX_ITEMS) {
        body_fail(body, "it is too large");
    } else if (body_has_room(body, strlen(text))) {
        answer->blocks =
            reallocarray(answer->blocks, answer->blocks_count + 1, sizeof *answer->blocks);
        if (!answer->blocks)
            abort();
        struct block *new = &answer->blocks[answer->blocks_count++];
        *new = (struct block){.index = json_integer_value(index), .json = json_deep_copy(block)};
        for (size_t n = 0; n < PART_COUNT; n++)
            buf_init(&new->grown[n], ANSWER_MAX_BYTES);
    }
}

static void take_citation(struct body *body, struct block *block, json_t *citation)
{
    AUTO_FREE char *text = json_dumps(citation, JSON_COMPACT);
    json_t *list = json_object_get(block->json, "citations");
    if (!text || !body_has_room(body, strlen(text)))
        return;
    if (!json_is_array(list)) {
        list = json_array();
        json_object_set_new(block->json, "citations", list);
    }
    json_array_append(list, citation);
}

static void on_block_delta(struct messages_answer *answer, const json_t *event)
{
    struct body *body = &answer->body;
    struct block *block = find_block(answer, event);
    const json_t *delta = json_object_get(event, "delta");
    const char *type = json_string_value(json_object_get(delta, "type"));
    if (!block || block->stopped || !type) {
        body_lose(body, "a delta without its block or type");
        return;
    }
    if (!strcmp(type, "citations_delta"))
        take_citation(body, block, json_object_get(delta, "citation"));
    for (size_t n = 0; n < PART_COUNT; n++) {
        if (strcmp(type, parts[n].delta) != 0)
            continue;
        const json_t *value = json_object_get(delta, parts[n].value);
        if (!json_is_string(value))
            body_lose(body, "a delta without its text");
        else if (body_has_room(body, json_string_length(value)))
            buf_append(&block->grown[n], json_string_value(value), json_string_length(value));
        block->has_grown[n] = true;
    }
}

static void on_block_stop(struct messages_answer *answer, const json_t *event)
{
    struct block *block = find_block(answer, event);
    if (!block || block->stopped)
        body_lose(&answer->body, "a block ends that has not begun");
    else
        block->stopped = true;
}

/* ---- the items */

/* The member of the block that has grown: what it began with, and what came. */
static void put_grown(struct buf *out, const struct block *block, enum part part)
{
    const struct buf *grown = &block->grown[part];
    buf_appendf(out, ",\"%s\":", parts[part].member);
    if (part != PART_INPUT) {
        const json_t *first = json_object_get(block->json, parts[part].member);
        AUTO_BUF struct buf text;
        buf_init(&text, 2 * ANSWER_MAX_BYTES);
        if (json_is_string(first))
            buf_append(&text, json_string_value(first), json_string_length(first));
        buf_append(&text, grown->data, grown->len);
        json_text_string(out, text.data, text.len);
        return;
    }
    AUTO_FREE char *wrapped = item_wrapped_arguments(grown->data, grown->len);
    if (wrapped)
        buf_append_str(out, wrapped);
    else
        buf_append(out, grown->data, grown->len);
}

/* An input that never grew is the one that it began with ({}). */
static bool replaces(const struct block *block, size_t n)
{
    return block->has_grown[n] && (n != PART_INPUT || block->grown[n].len);
}

static void put_block(struct buf *out, const struct block *block)
{
    json_t *rest = json_copy(block->json);
    for (size_t n = 0; n < PART_COUNT; n++)
        if (replaces(block, n))
            json_object_del(rest, parts[n].member);
    AUTO_FREE char *text = json_dumps(rest, JSON_COMPACT);
    json_decref(rest);
    if (!text)
        abort();
    buf_append(out, text, strlen(text) - 1);
    for (size_t n = 0; n < PART_COUNT; n++)
        if (replaces(block, n))
            put_grown(out, block, n);
    buf_append_char(out, '}');
}

static void take_block(struct messages_answer *answer, const struct block *block)
{
    struct response *response = &answer->body.base.response;
    AUTO_BUF struct buf text;
    buf_init(&text, 8 * ANSWER_MAX_BYTES); /* every byte may need an escape */
    put_block(&text, block);
    size_t before = response->count;
    json_t *json = json_loadb(text.data, text.len, JSON_ALLOW_NUL, NULL);
    struct err err;
    if (!json)
        body_lose(&answer->body, "a block that is too large");
    else if (messages_read_item(response, json, (struct json_span){text.data, text.len}, &err) < 0)
        body_lose(&answer->body, err.message);
    json_decref(json);
    /* A call is run with what the model wrote, whatever goes back. */
    if (response->count > before && response->items[before].kind == ITEM_CALL &&
        block->grown[PART_INPUT].len)
        item_set_arguments(&response->items[before], block->grown[PART_INPUT].data,
                           block->grown[PART_INPUT].len);
}

/* ---- the end */

static void fail_as(struct messages_answer *answer, enum failure_kind kind, const char *why)
{
    answer->body.base.state = ANSWER_FAILED;
    failure_set(&answer->body.base.failure, kind, "%s", why);
}

static bool has_call(const struct response *response)
{
    for (size_t i = 0; i < response->count; i++)
        if (response->items[i].kind == ITEM_CALL)
            return true;
    return false;
}

/* What the stop_reason makes of the items that are there. */
static void finish(struct messages_answer *answer)
{
    struct body *body = &answer->body;
    const char *reason = answer->stop_reason;
    char why[128];
    if (!*reason) {
        body_fail(body, body->lost ? body->why : "it ended without a stop_reason");
    } else if (!strcmp(reason, "max_tokens")) {
        body_cut_short(body);
    } else if (!strcmp(reason, "model_context_window_exceeded")) {
        fail_as(answer, FAILURE_CONTEXT,
                "the model's answer ran into the end of its context window");
    } else if (!strcmp(reason, "refusal")) {
        fail_as(answer, FAILURE_FILTERED, "the model refused to go on with its answer");
    } else if (!strcmp(reason, "tool_use") && !has_call(&body->base.response)) {
        body_lose(body, "it ends for calls that it does not hold");
        body_finish(body);
    } else if (!strcmp(reason, "end_turn") || !strcmp(reason, "stop_sequence") ||
               !strcmp(reason, "tool_use") || !strcmp(reason, "pause_turn")) {
        body->base.response.paused = !strcmp(reason, "pause_turn");
        body_finish(body);
    } else {
        snprintf(why, sizeof why, "it ended for an unknown reason, '%s'", reason);
        body_fail(body, why);
    }
}

static void on_message_stop(struct messages_answer *answer)
{
    for (size_t i = 0; i < answer->blocks_count && answer->body.base.state == ANSWER_OPEN; i++) {
        if (answer->blocks[i].stopped)
            take_block(answer, &answer->blocks[i]);
        else
            body_lose(&answer->body, "a block has no end");
    }
    if (answer->body.base.state == ANSWER_OPEN)
        finish(answer);
}

/* ---- events */

static void take_stop_reason(struct messages_answer *answer, const json_t *object)
{
    const char *reason = json_string_value(json_object_get(object, "stop_reason"));
    if (reason)
        snprintf(answer->stop_reason, sizeof answer->stop_reason, "%s", reason);
}

static void on_message_start(struct messages_answer *answer, const json_t *event)
{
    const json_t *message = json_object_get(event, "message");
    answer->started = json_is_object(message);
    if (!answer->started)
        body_lose(&answer->body, "it begins without a message");
    take_usage(answer, json_object_get(message, "usage"));
}

static void on_message_delta(struct messages_answer *answer, const json_t *event)
{
    take_stop_reason(answer, json_object_get(event, "delta"));
    take_usage(answer, json_object_get(event, "usage"));
}

static void on_event(struct body *body, const char *name, const json_t *event, struct json_span raw)
{
    struct messages_answer *answer = (struct messages_answer *)body;
    const char *type = json_string_value(json_object_get(event, "type"));
    const json_t *error = json_object_get(event, "error");
    if (!strcmp(name, "error") || (type && !strcmp(type, "error")) || (!type && error))
        body_fail_for(body, error ? error : event);
    else if (!type)
        body_lose(body, "an event has no type");
    else if (!strcmp(type, "message_start"))
        on_message_start(answer, event);
    else if (!strcmp(type, "content_block_start"))
        on_block_start(answer, event);
    else if (!strcmp(type, "content_block_delta"))
        on_block_delta(answer, event);
    else if (!strcmp(type, "content_block_stop"))
        on_block_stop(answer, event);
    else if (!strcmp(type, "message_delta"))
        on_message_delta(answer, event);
    else if (!strcmp(type, "message_stop"))
        on_message_stop(answer);
}

static void on_object(struct body *body, const json_t *object, struct json_span raw)
{
    struct messages_answer *answer = (struct messages_answer *)body;
    const json_t *error = json_object_get(object, "error");
    const json_t *content = json_object_get(object, "content");
    struct json_span list, element;
    size_t offset = 0, i = 0;
    if (error && !json_is_null(error)) {
        body_fail_for(body, error);
        return;
    }
    if (!json_is_array(content) || !json_text_member(raw, "content", &list)) {
        body_fail(body, "it is a JSON object without content");
        return;
    }
    take_usage(answer, json_object_get(object, "usage"));
    while (body->base.state == ANSWER_OPEN && json_text_element(list, &offset, &element))
        body_take_item(body, &provider_messages, json_array_get(content, i++), element);
    take_stop_reason(answer, object);
    if (body->base.state == ANSWER_OPEN)
        finish(answer);
}

/* "[DONE]" belongs to another API; some servers send it nevertheless. */
static bool skips(struct body *body, const struct sse_event *event)
{
    return !strcmp(event->type, "ping") || !strcmp(event->data, "[DONE]");
}

struct answer *messages_answer_new(void)
{
    static const struct body_reader reader = {
        .skips = skips, .event = on_event, .object = on_object, .release = release};
    return &body_new(&reader, sizeof(struct messages_answer))->base;
}
