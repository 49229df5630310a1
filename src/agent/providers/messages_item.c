/* The Messages API: content blocks, the parts of its messages. */
#include "agent/providers/messages.h"

#include <errno.h>
#include <string.h>

#include "agent/providers/item.h"

/* One message, a block for each. */
int messages_user_messages(struct buf *out, const struct message *messages, size_t count)
{
    if (buf_append_str(out, "{\"role\":\"user\",\"content\":[") < 0)
        return -ERANGE;
    for (size_t i = 0; i < count; i++)
        if (buf_append_str(out, i ? ",{\"type\":\"text\",\"text\":"
                                  : "{\"type\":\"text\",\"text\":") < 0 ||
            json_text_string(out, messages[i].text, messages[i].len) < 0 ||
            buf_append_char(out, '}') < 0)
            return -ERANGE;
    return buf_append_str(out, "]}");
}

/* A list of blocks: the text, unless it is empty, and the image. */
static int put_blocks(struct buf *out, const char *text, size_t len, const struct image *image)
{
    const struct image_form *form = &provider_messages.image;
    if (buf_append_char(out, '[') < 0)
        return -ERANGE;
    if (len && (buf_append_str(out, form->text_open) < 0 || json_text_string(out, text, len) < 0 ||
                buf_append_str(out, "},") < 0))
        return -ERANGE;
    return image_append(out, form, image) < 0 ? -ERANGE : buf_append_char(out, ']');
}

/* A block; the outputs of one answer stand together in one message. Without text there is no
 * content: an empty text is refused. */
int messages_call_output(struct buf *out, const struct item *call, const char *text, size_t len,
                         const struct image *image)
{
    if (buf_append_str(out, "{\"type\":\"tool_result\",\"tool_use_id\":") < 0 ||
        json_text_cstring(out, call->call_id) < 0)
        return -ERANGE;
    if ((len || image) && buf_append_str(out, ",\"content\":") < 0)
        return -ERANGE;
    if (image ? put_blocks(out, text, len, image) < 0 : len && json_text_string(out, text, len) < 0)
        return -ERANGE;
    return buf_append_char(out, '}');
}

static bool is_blank(const json_t *string)
{
    const char *s = json_string_value(string);
    return strspn(s, " \t\r\n") == json_string_length(string);
}

static int read_call(struct item *item, const json_t *json, struct json_span raw, struct err *err)
{
    const json_t *id = json_object_get(json, "id");
    const json_t *name = json_object_get(json, "name");
    struct json_span input;
    if (!json_string_length(id) || !json_string_length(name) ||
        !json_is_object(json_object_get(json, "input")) || !json_text_member(raw, "input", &input))
        return err_set(err, ERR_PROTOCOL, "a tool_use without id, name or input");
    item_set_call(item, id, name, input.at, input.len);
    return 0;
}

static int read_text(struct item *item, enum item_kind kind, const json_t *text, struct err *err)
{
    if (!json_is_string(text))
        return err_set(err, ERR_PROTOCOL, "a block without its text");
    item->kind = kind;
    item->text = item_text(text);
    return 0;
}

int messages_read_item(struct response *response, const json_t *json, struct json_span raw,
                       struct err *err)
{
    const char *type = json_string_value(json_object_get(json, "type"));
    const json_t *text = json_object_get(json, "text");
    struct item item = {.kind = ITEM_OTHER};
    int status = 0;
    if (!type)
        return err_set(err, ERR_PROTOCOL, "a block without a type");
    if (!strcmp(type, "text")) {
        status = read_text(&item, ITEM_MESSAGE, text, err);
        if (status == 0 && is_blank(text)) {
            item_release(&item);
            return 0;
        }
    } else if (!strcmp(type, "thinking")) {
        status = read_text(&item, ITEM_REASONING, json_object_get(json, "thinking"), err);
    } else if (!strcmp(type, "redacted_thinking")) {
        status = json_is_string(json_object_get(json, "data"))
                     ? 0
                     : err_set(err, ERR_PROTOCOL, "a redacted_thinking block without data");
    } else if (!strcmp(type, "tool_use")) {
        status = read_call(&item, json, raw, err);
    }
    if (status == 0) {
        item_keep_raw(&item, raw);
        response_add(response, &item);
    }
    item_release(&item);
    return status;
}
