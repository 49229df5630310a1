/* Chat Completions: a message from its pieces. See chat_message.h. */
#include "agent/providers/chat_message.h"

#include <stdlib.h>
#include <string.h>

#include "agent/providers/item.h"
#include "base/cleanup.h"

void chat_message_init(struct chat_answer *answer)
{
    buf_init(&answer->content, ANSWER_MAX_BYTES);
    buf_init(&answer->refusal, ANSWER_MAX_BYTES);
    for (size_t i = 0; i < CHAT_THOUGHTS; i++)
        buf_init(&answer->thoughts[i], ANSWER_MAX_BYTES);
}

void chat_message_release(struct chat_answer *answer)
{
    buf_release(&answer->content);
    buf_release(&answer->refusal);
    for (size_t i = 0; i < CHAT_THOUGHTS; i++)
        buf_release(&answer->thoughts[i]);
    json_decref(answer->details);
    json_decref(answer->more);
    for (size_t i = 0; i < answer->calls_count; i++) {
        struct chat_call *call = &answer->calls[i];
        buf_release(&call->id);
        buf_release(&call->name);
        buf_release(&call->arguments);
        json_decref(call->more);
    }
    free(answer->calls);
}

/* ---- pieces */

/* STRING joins BUF; null and nothing do not. Returns whether it was a string. */
static bool join(struct chat_answer *answer, struct buf *buf, const json_t *string)
{
    if (!json_is_string(string))
        return false;
    size_t len = json_string_length(string);
    if (body_has_room(&answer->body, len))
        buf_append(buf, json_string_value(string), len);
    return true;
}

/* Content is text, or (Mistral's) a list of parts. */
static void take_content(struct chat_answer *answer, const json_t *content)
{
    size_t i;
    json_t *part;
    if (join(answer, &answer->content, content))
        answer->has_content = true;
    json_array_foreach(content, i, part)
        if (join(answer, &answer->content, json_object_get(part, "text")))
            answer->has_content = true;
}

/* VALUE becomes the member NAME of *OBJECT, which begins to exist with its first. */
static void keep_member(struct chat_answer *answer, json_t **object, const char *name,
                        json_t *value)
{
    AUTO_FREE char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!text || !body_has_room(&answer->body, strlen(text) + strlen(name)))
        return;
    if (!*object)
        *object = json_object();
    if (json_object_set(*object, name, value) < 0)
        abort();
}

static void take_thoughts(struct chat_answer *answer, const json_t *delta)
{
    for (size_t i = 0; i < CHAT_THOUGHTS; i++) {
        const json_t *value = json_object_get(delta, chat_thoughts[i]);
        if (join(answer, &answer->thoughts[i], value))
            answer->has_thoughts[i] = true;
        size_t n;
        json_t *detail;
        json_array_foreach(value, n, detail) {
            AUTO_FREE char *text = json_dumps(detail, JSON_COMPACT | JSON_ENCODE_ANY);
            if (!text || !body_has_room(&answer->body, strlen(text)))
                return;
            if (!answer->details)
                answer->details = json_array();
            json_array_append(answer->details, detail);
        }
    }
}

/* ---- calls */

static struct chat_call *new_call(struct chat_answer *answer, json_int_t index)
{
    if (answer->calls_count >= ANSWER_MAX_ITEMS / 2) {
        body_fail(&answer->body, "it is too large");
        return NULL;
    }
    answer->calls = reallocarray(answer->calls, answer->calls_count + 1, sizeof *answer->calls);
    if (!answer->calls)
        abort();
    struct chat_call *call = &answer->calls[answer->calls_count++];
    *call = (struct chat_call){.index = index};
    buf_init(&call->id, ANSWER_MAX_BYTES);
    buf_init(&call->name, ANSWER_MAX_BYTES);
    buf_init(&call->arguments, ANSWER_MAX_BYTES);
    return call;
}

/* The call that a piece belongs to; NULL: a new one. */
static struct chat_call *find_call(struct chat_answer *answer, const json_t *piece)
{
    const json_t *index = json_object_get(piece, "index");
    const json_t *id = json_object_get(piece, "id");
    const json_t *name = json_object_get(json_object_get(piece, "function"), "name");
    struct chat_call *call = NULL;
    for (size_t i = answer->calls_count; i-- > 0 && !call;)
        if (!json_is_integer(index) || answer->calls[i].index == json_integer_value(index))
            call = &answer->calls[i];
    bool begins = json_string_length(id) && json_string_length(name);
    if (call && begins && call->id.len && strcmp(call->id.data, json_string_value(id)) != 0)
        return NULL;
    return call;
}

/* Ids and names come whole, once or with every piece. A name may come in pieces, too. */
static void take_name(struct chat_answer *answer, struct chat_call *call, const json_t *id,
                      const json_t *name)
{
    if (!call->id.len)
        join(answer, &call->id, id);
    if (!json_string_length(name) || !strcmp(call->name.data, json_string_value(name)))
        return;
    if (call->has_arguments && call->name.len)
        body_lose(&answer->body, "a call changes its name");
    else
        join(answer, &call->name, name);
}

static void take_arguments(struct chat_answer *answer, struct chat_call *call,
                           const json_t *arguments)
{
    if (json_is_object(arguments)) {
        AUTO_FREE char *text = json_dumps(arguments, JSON_COMPACT);
        if (text && body_has_room(&answer->body, strlen(text)))
            buf_append_str(&call->arguments, text);
        call->has_arguments = true;
    } else if (join(answer, &call->arguments, arguments)) {
        call->has_arguments = true;
    } else if (arguments && !json_is_null(arguments)) {
        body_lose(&answer->body, "a call's arguments are no text");
    }
}

static void take_call(struct chat_answer *answer, json_t *piece)
{
    static const char *const known[] = {"index", "id", "type", "function"};
    const json_t *function = json_object_get(piece, "function");
    const json_t *index = json_object_get(piece, "index");
    struct chat_call *call = find_call(answer, piece);
    if (!call)
        call = new_call(answer, json_is_integer(index) ? json_integer_value(index) : -1);
    if (!call)
        return;
    take_name(answer, call, json_object_get(piece, "id"), json_object_get(function, "name"));
    take_arguments(answer, call, json_object_get(function, "arguments"));
    const char *name;
    json_t *value;
    json_object_foreach(piece, name, value) {
        bool is_known = json_is_null(value);
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            is_known |= !strcmp(name, known[i]);
        if (!is_known)
            keep_member(answer, &call->more, name, value);
    }
}

void chat_message_take(struct chat_answer *answer, const json_t *delta)
{
    size_t i;
    json_t *call, *more = json_object_get(delta, "extra_content");
    take_content(answer, json_object_get(delta, "content"));
    join(answer, &answer->refusal, json_object_get(delta, "refusal"));
    take_thoughts(answer, delta);
    if (more && !json_is_null(more))
        keep_member(answer, &answer->more, "extra_content", more);
    json_array_foreach(json_object_get(delta, "tool_calls"), i, call)
        take_call(answer, call);
}

/* ---- the message */

static void put_member(struct buf *out, const char *name, const struct buf *value)
{
    buf_appendf(out, ",\"%s\":", name);
    json_text_string(out, value->data, value->len);
}

/* The members of OBJECT, each with a comma before it. */
static void put_members(struct buf *out, const json_t *object)
{
    if (!object)
        return;
    AUTO_FREE char *text = json_dumps(object, JSON_COMPACT);
    if (!text)
        abort();
    buf_append_char(out, ',');
    buf_append(out, text + 1, strlen(text) - 2);
}

static void put_call(struct buf *out, const struct chat_call *call)
{
    AUTO_FREE char *wrapped = item_wrapped_arguments(call->arguments.data, call->arguments.len);
    buf_append_str(out, "{\"id\":");
    json_text_string(out, call->id.data, call->id.len);
    buf_append_str(out, ",\"type\":\"function\",\"function\":{\"name\":");
    json_text_string(out, call->name.data, call->name.len);
    buf_append_str(out, ",\"arguments\":");
    if (wrapped)
        json_text_cstring(out, wrapped);
    else
        json_text_string(out, call->arguments.data, call->arguments.len);
    buf_append_char(out, '}');
    put_members(out, call->more);
    buf_append_char(out, '}');
}

static void put_message(struct buf *out, const struct chat_answer *answer)
{
    buf_append_str(out, "{\"role\":\"assistant\"");
    if (answer->has_content || !answer->calls_count)
        put_member(out, "content", &answer->content);
    else
        buf_append_str(out, ",\"content\":null");
    for (size_t i = 0; i < CHAT_THOUGHTS; i++)
        if (answer->has_thoughts[i])
            put_member(out, chat_thoughts[i], &answer->thoughts[i]);
    if (answer->details) {
        AUTO_FREE char *text = json_dumps(answer->details, JSON_COMPACT);
        buf_appendf(out, ",\"reasoning_details\":%s", text ? text : "[]");
    }
    if (answer->refusal.len)
        put_member(out, "refusal", &answer->refusal);
    put_members(out, answer->more);
    for (size_t i = 0; i < answer->calls_count; i++) {
        buf_append_str(out, i ? "," : ",\"tool_calls\":[");
        put_call(out, &answer->calls[i]);
    }
    buf_append_str(out, answer->calls_count ? "]}" : "}");
}

static bool calls_are_whole(struct chat_answer *answer)
{
    for (size_t i = 0; i < answer->calls_count; i++) {
        const struct chat_call *call = &answer->calls[i];
        if (!call->id.len || !call->name.len || !call->has_arguments) {
            body_lose(&answer->body, "a call without id, name or arguments");
            return false;
        }
    }
    return true;
}

/* What was called with other arguments than those that go back is run with its own. */
static void restore_arguments(struct chat_answer *answer)
{
    struct response *response = &answer->body.base.response;
    size_t n = 0;
    for (size_t i = 0; i < response->count && n < answer->calls_count; i++)
        if (response->items[i].kind == ITEM_CALL) {
            const struct buf *arguments = &answer->calls[n++].arguments;
            item_set_arguments(&response->items[i], arguments->data, arguments->len);
        }
}

void chat_message_finish(struct chat_answer *answer)
{
    if (answer->body.lost || !calls_are_whole(answer))
        return;
    AUTO_BUF struct buf text;
    buf_init(&text, 8 * ANSWER_MAX_BYTES); /* every byte may need an escape */
    put_message(&text, answer);
    struct json_span raw = {text.data, text.len};
    struct err err;
    json_t *json = json_loadb(raw.at, raw.len, JSON_ALLOW_NUL, NULL);
    if (!json)
        body_lose(&answer->body, "a message that is too large");
    else if (chat_read_item(&answer->body.base.response, json, raw, &err) < 0)
        body_lose(&answer->body, err.message);
    json_decref(json);
    restore_arguments(answer);
}
