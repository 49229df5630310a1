#include "gateway/replay_item.h"

#include <stdio.h>
#include <string.h>

static const struct replay_item_kind kinds[] = {
    {"reasoning", "rs", false, "summary", "text", "response.reasoning_summary_text",
     "response.reasoning_summary_part", "summary_index"},
    {"message", "msg", false, "content", "text", "response.output_text", "response.content_part",
     "content_index"},
    {"function_call", "fc", true, NULL, "arguments", "response.function_call_arguments", NULL,
     NULL},
    {"custom_tool_call", "ctc", true, NULL, "input", "response.custom_tool_call_input", NULL, NULL},
};

const struct replay_item_kind *replay_item_kind(const json_t *item)
{
    const char *type = json_string_value(json_object_get(item, "type"));
    for (size_t i = 0; type && i < sizeof kinds / sizeof kinds[0]; i++)
        if (!strcmp(type, kinds[i].type))
            return &kinds[i];
    return NULL;
}

int replay_item_check(const json_t *item, struct err *err)
{
    const struct replay_item_kind *kind = replay_item_kind(item);
    if (!kind)
        return err_set(
            err, ERR_USAGE,
            "an item of 'output' must have the type reasoning, message, function_call or "
            "custom_tool_call");
    if (kind->is_call && !json_is_string(json_object_get(item, "name")))
        return err_set(err, ERR_USAGE, "a %s without a 'name'", kind->type);
    if (!kind->parts)
        return json_is_string(json_object_get(item, kind->text))
                   ? 0
                   : err_set(err, ERR_USAGE, "a %s without '%s'", kind->type, kind->text);
    const json_t *parts = json_object_get(item, kind->parts);
    if (!json_is_array(parts))
        return err_set(err, ERR_USAGE, "a %s without '%s'", kind->type, kind->parts);
    size_t i;
    json_t *part;
    json_array_foreach(parts, i, part)
        if (!json_is_string(json_object_get(part, "text")))
            return err_set(err, ERR_USAGE, "a part of '%s' without 'text'", kind->parts);
    return 0;
}

void replay_item_number(json_t *item, int turn, size_t n)
{
    const struct replay_item_kind *kind = replay_item_kind(item);
    char id[48];
    snprintf(id, sizeof id, "%s_r%d_%zu", kind->id_prefix, turn, n);
    json_object_set_new(item, "id", json_string(id));
    if (kind->is_call) {
        snprintf(id, sizeof id, "call_r%d_%zu", turn, n);
        json_object_set_new(item, "call_id", json_string(id));
    }
    if (!strcmp(kind->type, "message"))
        json_object_set_new(item, "role", json_string("assistant"));
    if (strcmp(kind->type, "reasoning"))
        json_object_set_new(item, "status", json_string("completed"));
}

size_t replay_item_texts(const json_t *item)
{
    const struct replay_item_kind *kind = replay_item_kind(item);
    return kind->parts ? json_array_size(json_object_get(item, kind->parts)) : 1;
}

const char *replay_item_text(const json_t *item, size_t i)
{
    const struct replay_item_kind *kind = replay_item_kind(item);
    const json_t *holder =
        kind->parts ? json_array_get(json_object_get(item, kind->parts), i) : item;
    const char *text = json_string_value(json_object_get(holder, kind->text));
    return text ? text : "";
}
