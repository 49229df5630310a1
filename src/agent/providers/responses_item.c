/* The Responses API: items, the parts of its conversations. */
#include "agent/providers/responses.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/providers/item.h"
#include "base/cleanup.h"

int responses_user_messages(struct buf *out, const struct message *messages, size_t count)
{
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++)
        if ((i && buf_append_char(out, ',') < 0) ||
            buf_append_str(out, "{\"type\":\"message\",\"role\":\"user\",\"content\":[{"
                                "\"type\":\"input_text\",\"text\":") < 0 ||
            json_text_string(out, messages[i].text, messages[i].len) < 0 ||
            buf_append_str(out, "}]}") < 0)
            status = -ERANGE;
    return status;
}

/* A text, or, with an image, a list of parts. */
static int put_output(struct buf *out, const char *text, size_t len, const struct image *image)
{
    const struct image_form *form = &provider_responses.image;
    if (!image)
        return json_text_string(out, text, len);
    if (buf_append_char(out, '[') < 0 || buf_append_str(out, form->text_open) < 0 ||
        json_text_string(out, text, len) < 0 || buf_append_str(out, "},") < 0 ||
        image_append(out, form, image) < 0)
        return -ERANGE;
    return buf_append_char(out, ']');
}

int responses_call_output(struct buf *out, const struct item *call, const char *text, size_t len,
                          const struct image *image)
{
    if (buf_append_str(out, call->custom ? "{\"type\":\"custom_tool_call_output\",\"call_id\":"
                                         : "{\"type\":\"function_call_output\",\"call_id\":") < 0 ||
        json_text_cstring(out, call->call_id) < 0 || buf_append_str(out, ",\"output\":") < 0 ||
        put_output(out, text, len, image) < 0)
        return -ERANGE;
    return buf_append_char(out, '}');
}

/* The texts of the member FIRST, or of SECOND. */
static char *text_of(const json_t *json, const char *first, const char *second)
{
    char *text = item_parts_text(json_object_get(json, first), "text", "refusal");
    if (*text || !second)
        return text;
    free(text);
    return item_parts_text(json_object_get(json, second), "text", "refusal");
}

static int read_call(struct item *item, const json_t *json, const char *argument, struct err *err)
{
    const json_t *call_id = json_object_get(json, "call_id");
    const json_t *name = json_object_get(json, "name");
    const json_t *arguments = json_object_get(json, argument);
    if (!json_string_length(call_id) || !json_string_length(name) || !json_is_string(arguments))
        return err_set(err, ERR_PROTOCOL, "a call without call_id, name or %s", argument);
    const char *status = json_string_value(json_object_get(json, "status"));
    item_set_call(item, call_id, name, json_string_value(arguments), json_string_length(arguments));
    item->cut = status && !strcmp(status, "incomplete");
    return 0;
}

/* See item_wrapped_arguments(). */
static bool wrap_arguments(struct item *item, const json_t *json)
{
    AUTO_FREE char *wrapped = item_wrapped_arguments(item->arguments, item->arguments_len);
    if (!wrapped)
        return false;
    json_t *copy = json_copy((json_t *)json);
    if (json_object_set_new(copy, "arguments", json_string(wrapped)) < 0)
        abort();
    item->json = json_dumps(copy, JSON_COMPACT);
    if (!item->json)
        abort();
    item->json_len = strlen(item->json);
    json_decref(copy);
    return true;
}

static int read_one(struct item *item, const json_t *json, struct json_span raw, struct err *err)
{
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
        item_keep_raw(item, raw);
    return status;
}

int responses_read_item(struct response *response, const json_t *json, struct json_span raw,
                        struct err *err)
{
    struct item item = {.kind = ITEM_OTHER};
    int status = read_one(&item, json, raw, err);
    if (status == 0)
        response_add(response, &item);
    item_release(&item);
    return status;
}
