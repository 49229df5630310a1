#include "agent/providers/body.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STREAM_MAX_BYTES = 256 << 20 }; /* of one answer, deltas and all */

struct body *body_new(const struct body_reader *reader, size_t size)
{
    struct body *body = calloc(1, size);
    if (!body)
        abort();
    body->reader = reader;
    sse_init(&body->sse, ANSWER_MAX_BYTES);
    buf_init(&body->object, ANSWER_MAX_BYTES);
    return body;
}

void body_free(struct answer *answer)
{
    struct body *body = (struct body *)answer;
    if (!body)
        return;
    if (body->reader->release)
        body->reader->release(body);
    response_release(&body->base.response);
    sse_release(&body->sse);
    buf_release(&body->object);
    free(body);
}

void body_fail(struct body *body, const char *why)
{
    body->base.state = ANSWER_FAILED;
    failure_set(&body->base.failure, FAILURE_BROKEN_STREAM, "the model's answer is broken: %s",
                why);
}

void body_fail_for(struct body *body, const json_t *error)
{
    body->base.state = ANSWER_FAILED;
    failure_from_error(&body->base.failure, error);
}

void body_lose(struct body *body, const char *why)
{
    if (!body->lost)
        snprintf(body->why, sizeof body->why, "%s", why);
    body->lost = true;
}

bool body_has_room(struct body *body, size_t len)
{
    body->item_bytes += len;
    if (body->item_bytes <= ANSWER_MAX_BYTES && body->base.response.count < ANSWER_MAX_ITEMS)
        return true;
    body_fail(body, "it is too large");
    return false;
}

void body_take_item(struct body *body, const struct provider *provider, const json_t *json,
                    struct json_span raw)
{
    struct err err;
    if (body_has_room(body, raw.len) &&
        provider->read_item(&body->base.response, json, raw, &err) < 0)
        body_lose(body, err.message);
}

void body_cut_short(struct body *body)
{
    response_drop_items(&body->base.response);
    body->base.state = ANSWER_CUT_SHORT;
}

void body_finish(struct body *body)
{
    if (body->base.state != ANSWER_OPEN)
        return;
    if (body->lost)
        body_fail(body, body->why);
    else if (!response_ids_are_unique(&body->base.response))
        body_fail(body, "two of its calls have the same id");
    else
        body->base.state = ANSWER_WHOLE;
}

int64_t body_figure(const json_t *object, const char *name)
{
    json_int_t n = json_integer_value(json_object_get(object, name));
    return n > 0 && n < (1LL << 40) ? n : 0;
}

/* ---- events */

static int on_event(void *arg, const struct sse_event *sse)
{
    struct body *body = arg;
    body->base.events++;
    if (body->base.state != ANSWER_OPEN) /* nothing behind the terminal event counts */
        return 0;
    if (!sse->data_len || (body->reader->skips && body->reader->skips(body, sse)))
        return 0;
    struct json_span raw = {sse->data, sse->data_len};
    json_t *event = json_loadb(raw.at, raw.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (json_is_object(event))
        body->reader->event(body, sse->type, event, raw);
    else
        body_lose(body, "an event is not a JSON object");
    json_decref(event);
    return 0;
}

static void end_object(struct body *body)
{
    struct json_span raw = {body->object.data, body->object.len};
    json_t *object = json_loadb(raw.at, raw.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (object)
        body->reader->object(body, object, raw);
    else
        body_fail(body, "it is neither a stream of events nor a JSON object");
    json_decref(object);
}

/* No line of a stream of events begins with a brace. */
static void decide(struct body *body, const char *bytes, size_t len)
{
    size_t i = 0;
    while (i < len && memchr(" \t\r\n", bytes[i], 4))
        i++;
    if (i < len)
        body->kind = bytes[i] == '{' ? BODY_OBJECT : BODY_STREAM;
}

static void feed(struct body *body, const char *bytes, size_t len)
{
    struct err err;
    if (body->kind == BODY_OBJECT) {
        body->base.events++;
        if (buf_append(&body->object, bytes, len) < 0)
            body_fail(body, "it is too large");
    } else if (sse_feed(&body->sse, bytes, len, on_event, body, &err) < 0 &&
               body->base.state == ANSWER_OPEN) {
        body_fail(body, err.message);
    }
}

void body_feed(struct answer *answer, const char *bytes, size_t len)
{
    struct body *body = (struct body *)answer;
    body->stream_bytes += len;
    if (answer->state == ANSWER_OPEN && body->stream_bytes > STREAM_MAX_BYTES)
        body_fail(body, "it does not end");
    if (body->kind == BODY_UNKNOWN)
        decide(body, bytes, len);
    if (answer->state == ANSWER_OPEN)
        feed(body, bytes, len);
}

void body_end(struct answer *answer)
{
    struct body *body = (struct body *)answer;
    if (answer->state == ANSWER_OPEN && body->kind == BODY_OBJECT)
        end_object(body);
    else if (answer->state == ANSWER_OPEN && body->reader->end)
        body->reader->end(body);
    if (answer->state == ANSWER_OPEN)
        body_fail(body, body->lost ? body->why : "the stream ended before its terminal event");
}
