#include "agent/providers/item.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

static char *copy_bytes(const char *bytes, size_t len)
{
    char *copy = malloc(len + 1);
    if (!copy)
        abort();
    if (len)
        memcpy(copy, bytes, len);
    copy[len] = '\0';
    return copy;
}

void item_keep_raw(struct item *item, struct json_span raw)
{
    item->json = copy_bytes(raw.at, raw.len);
    item->json_len = raw.len;
    for (size_t i = 0; i < raw.len; i++)
        if (raw.at[i] == '\n' || raw.at[i] == '\r')
            item->json[i] = ' ';
}

void item_set_arguments(struct item *item, const char *arguments, size_t len)
{
    free(item->arguments);
    item->arguments = copy_bytes(arguments, len);
    item->arguments_len = len;
}

void item_set_call(struct item *item, const json_t *id, const json_t *name, const char *arguments,
                   size_t len)
{
    item->kind = ITEM_CALL;
    item->call_id = str_dup(json_string_value(id));
    item->name = str_dup(json_string_value(name));
    item_set_arguments(item, arguments, len);
}

static void add_text(struct buf *text, const json_t *string)
{
    if (!json_string_length(string))
        return;
    if (text->len)
        buf_append_str(text, "\n\n");
    str_append_utf8(text, json_string_value(string), json_string_length(string));
}

char *item_parts_text(const json_t *parts, const char *name, const char *other)
{
    AUTO_BUF struct buf text;
    buf_init(&text, ITEM_TEXT_MAX);
    size_t i;
    json_t *part;
    json_array_foreach(parts, i, part) {
        const json_t *value = json_object_get(part, name);
        if (!json_is_string(value) && other)
            value = json_object_get(part, other);
        add_text(&text, value);
    }
    return buf_steal(&text, NULL);
}

char *item_text(const json_t *string)
{
    AUTO_BUF struct buf text;
    buf_init(&text, ITEM_TEXT_MAX);
    add_text(&text, string);
    return buf_steal(&text, NULL);
}

char *item_wrapped_arguments(const char *text, size_t len)
{
    json_t *arguments = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    bool is_object = json_is_object(arguments);
    json_decref(arguments);
    if (is_object)
        return NULL;
    struct buf wrapped;
    buf_init(&wrapped, 6 * ANSWER_MAX_BYTES + 64);
    if (buf_append_str(&wrapped, "{\"invalid_json\":") < 0 ||
        json_text_string(&wrapped, text, len) < 0 || buf_append_char(&wrapped, '}') < 0)
        abort();
    return buf_steal(&wrapped, NULL);
}
