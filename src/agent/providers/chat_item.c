/* Chat Completions: messages, the parts of its conversations. */
#include "agent/providers/chat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/providers/item.h"
#include "base/cleanup.h"

/* DeepSeek, llama.cpp and Moonshot; vLLM, Ollama and Groq; OpenRouter. */
const char *const chat_thoughts[CHAT_THOUGHTS] = {"reasoning_content", "reasoning",
                                                  "reasoning_details"};

/* One message, however many there are to say: templates of some models refuse two in a row. */
int chat_user_messages(struct buf *out, const struct message *messages, size_t count)
{
    AUTO_BUF struct buf text;
    buf_init(&text, out->max);
    for (size_t i = 0; i < count; i++)
        if ((i && buf_append_str(&text, "\n\n") < 0) ||
            buf_append(&text, messages[i].text, messages[i].len) < 0)
            return -ERANGE;
    if (buf_append_str(out, "{\"role\":\"user\",\"content\":") < 0 ||
        json_text_string(out, text.data, text.len) < 0)
        return -ERANGE;
    return buf_append_char(out, '}');
}

/* Most servers take text alone from a tool: see chat_output_image(). */
int chat_call_output(struct buf *out, const struct item *call, const char *text, size_t len,
                     const struct image *image)
{
    if (buf_append_str(out, "{\"role\":\"tool\",\"tool_call_id\":") < 0 ||
        json_text_cstring(out, call->call_id) < 0 || buf_append_str(out, ",\"content\":") < 0 ||
        json_text_string(out, text, len) < 0)
        return -ERANGE;
    return buf_append_char(out, '}');
}

int chat_output_image(struct buf *out, const struct item *call, const struct image *image)
{
    const struct image_form *form = &provider_chat.image;
    AUTO_BUF struct buf text;
    buf_init(&text, out->max);
    if (buf_appendf(&text, "The image of the call %s:", call->call_id) < 0 ||
        buf_append_str(out, form->text_open) < 0 ||
        json_text_string(out, text.data, text.len) < 0 || buf_append_str(out, "},") < 0)
        return -ERANGE;
    return image_append(out, form, image);
}

static int read_call(struct item *item, const json_t *json, struct err *err)
{
    const json_t *function = json_object_get(json, "function");
    const json_t *id = json_object_get(json, "id");
    const json_t *name = json_object_get(function, "name");
    const json_t *arguments = json_object_get(function, "arguments");
    if (!json_string_length(id) || !json_string_length(name) || !json_is_string(arguments))
        return err_set(err, ERR_PROTOCOL, "a call without id, name or arguments");
    item_set_call(item, id, name, json_string_value(arguments), json_string_length(arguments));
    return 0;
}

static void add_text(struct response *response, enum item_kind kind, const json_t *string)
{
    if (!json_string_length(string))
        return;
    struct item item = {.kind = kind, .text = item_text(string)};
    response_add(response, &item);
}

static void add_thoughts(struct response *response, const json_t *json)
{
    for (size_t i = 0; i < CHAT_THOUGHTS; i++)
        if (json_string_length(json_object_get(json, chat_thoughts[i]))) {
            add_text(response, ITEM_REASONING, json_object_get(json, chat_thoughts[i]));
            return;
        }
}

int chat_read_item(struct response *response, const json_t *json, struct json_span raw,
                   struct err *err)
{
    const char *role = json_string_value(json_object_get(json, "role"));
    if (!role || strcmp(role, "assistant") != 0)
        return err_set(err, ERR_PROTOCOL, "an answer that is no message of the assistant");
    size_t first = response->count, i;
    add_thoughts(response, json);
    add_text(response, ITEM_MESSAGE, json_object_get(json, "content"));
    add_text(response, ITEM_MESSAGE, json_object_get(json, "refusal"));
    json_t *call;
    json_array_foreach(json_object_get(json, "tool_calls"), i, call) {
        struct item item = {0};
        int status = read_call(&item, call, err);
        if (status == 0)
            response_add(response, &item);
        item_release(&item);
        if (status < 0)
            return status;
    }
    if (response->count == first) { /* it says nothing, and is still said */
        struct item item = {.kind = ITEM_MESSAGE, .text = item_text(NULL)};
        response_add(response, &item);
    }
    item_keep_raw(&response->items[first], raw);
    return 0;
}

/* One message without thoughts. */
static int add_without_thoughts(struct buf *out, struct json_span element)
{
    json_t *message = json_loadb(element.at, element.len, JSON_ALLOW_NUL, NULL);
    bool has_some = false;
    for (size_t i = 0; i < CHAT_THOUGHTS; i++)
        if (json_object_del(message, chat_thoughts[i]) == 0)
            has_some = true;
    AUTO_FREE char *text = has_some ? json_dumps(message, JSON_COMPACT) : NULL;
    json_decref(message);
    if (text)
        return buf_append_str(out, text);
    return buf_append(out, element.at, element.len);
}

bool chat_leave_out_thoughts(struct json_span conversation, struct buf *out)
{
    AUTO_BUF struct buf list;
    buf_init(&list, conversation.len + 2);
    buf_append_char(&list, '[');
    buf_append(&list, conversation.at, conversation.len);
    buf_append_char(&list, ']');
    struct json_span element;
    size_t offset = 0;
    buf_clear(out);
    while (json_text_element((struct json_span){list.data, list.len}, &offset, &element))
        if ((out->len && buf_append_char(out, ',') < 0) || add_without_thoughts(out, element) < 0)
            return false;
    return true;
}
