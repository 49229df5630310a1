/* The Responses API: items, the parts of its conversations. */
#include "agent/providers/responses.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

enum { TEXT_MAX = ANSWER_MAX_BYTES };

int responses_user_message(struct buf *out, const char *text, size_t len)
{
    if (buf_append_str(out, "{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":"
                            "\"input_text\",\"text\":") < 0 ||
        json_text_string(out, text, len) < 0)
        return -ERANGE;
    return buf_append_str(out, "}]}");
}

int responses_call_output(struct buf *out, const struct item *call, const char *text, size_t len)
{
    if (buf_append_str(out, call->custom ? "{\"type\":\"custom_tool_call_output\",\"call_id\":"
                                         : "{\"type\":\"function_call_output\",\"call_id\":") < 0 ||
        json_text_cstring(out, call->call_id) < 0 || buf_append_str(out, ",\"output\":") < 0 ||
        json_text_string(out, text, len) < 0)
        return -ERANGE;
    return buf_append_char(out, '}');
}

/* The texts of a list of parts ({"type", "text"} or "refusal"), a blank line between. */
static void add_parts(struct buf *text, const json_t *parts)
{
    size_t i;
    json_t *part;
    json_array_foreach(parts, i, part) {
        json_t *value = json_object_get(part, "text");
        if (!json_is_string(value))
            value = json_object_get(part, "refusal");
        if (!json_is_string(value) || !json_string_length(value))
            continue;
        if (text->len)
            buf_append_str(text, "\n\n");
        str_append_utf8(text, json_string_value(value), json_string_length(value));
    }
}

static char *text_of(const json_t *json, const char *first, const char *second)
{
    AUTO_BUF struct buf text;
    buf_init(&text, TEXT_MAX);
    add_parts(&text, json_object_get(json, first));
    if (!text.len && second)
        add_parts(&text, json_object_get(json, second));
    return buf_steal(&text, NULL);
}

static int read_call(struct item *item, const json_t *json, const char *argument, struct err *err)
{
    const json_t *call_id = json_object_get(json, "call_id");
    const json_t *name = json_object_get(json, "name");
    const json_t *arguments = json_object_get(json, argument);
    if (!json_string_length(call_id) || !json_string_length(name) || !json_is_string(arguments))
        return err_set(err, ERR_PROTOCOL, "a call without call_id, name or %s", argument);
    const char *status = json_string_value(json_object_get(json, "status"));
    item->kind = ITEM_CALL;
    item->call_id = str_dup(json_string_value(call_id));
    item->name = str_dup(json_string_value(name));
    item->cut = status && !strcmp(status, "incomplete");
    item->arguments_len = json_string_length(arguments);
    item->arguments = malloc(item->arguments_len + 1);
    if (!item->arguments)
        abort();
    memcpy(item->arguments, json_string_value(arguments), item->arguments_len + 1);
    return 0;
}

/*
 * Servers parse what they get back, and refuse a whole conversation for arguments that are no JSON
 * object (Ollama, vLLM, llama.cpp's templates): such a call goes back with them in an object.
 */
static bool wrap_arguments(struct item *item, const json_t *json)
{
    json_t *arguments =
        json_loadb(item->arguments, item->arguments_len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    bool is_object = json_is_object(arguments);
    json_decref(arguments);
    if (is_object)
        return false;
    json_t *wrapped = json_pack("{s:O}", "invalid_json", json_object_get(json, "arguments"));
    AUTO_FREE char *text = json_dumps(wrapped, JSON_COMPACT);
    json_t *copy = json_deep_copy(json);
    if (!text || json_object_set_new(copy, "arguments", json_string(text)) < 0)
        abort();
    item->json = json_dumps(copy, JSON_COMPACT);
    if (!item->json)
        abort();
    item->json_len = strlen(item->json);
    json_decref(copy);
    json_decref(wrapped);
    return true;
}

/* One line: a line end can stand only between the tokens of valid JSON. */
static void keep_raw(struct item *item, struct json_span raw)
{
    item->json = malloc(raw.len + 1);
    if (!item->json)
        abort();
    for (size_t i = 0; i < raw.len; i++)
        item->json[i] = raw.at[i] == '\n' || raw.at[i] == '\r' ? ' ' : raw.at[i];
    item->json[raw.len] = '\0';
    item->json_len = raw.len;
}

int responses_read_item(struct item *item, const json_t *json, struct json_span raw,
                        struct err *err)
{
    *item = (struct item){.kind = ITEM_OTHER};
    const char *type = json_string_value(json_object_get(json, "type"));
    if (!type)
        return err_set(err, ERR_PROTOCOL, "an item without a type");
    int status = 0;
    if (!strcmp(type, "message")) {
        item->kind = ITEM_MESSAGE;
        item->text = text_of(json, "content", NULL);
    } else if (!strcmp(type, "reasoning")) {
        item->kind = ITEM_REASONING;
        item->text = text_of(json, "summary", "content");
    } else if (!strcmp(type, "function_call")) {
        status = read_call(item, json, "arguments", err);
    } else if (!strcmp(type, "custom_tool_call")) {
        item->custom = true;
        status = read_call(item, json, "input", err);
    }
    bool is_function = item->kind == ITEM_CALL && !item->custom;
    if (status == 0 && !(is_function && wrap_arguments(item, json)))
        keep_raw(item, raw);
    return status;
}
