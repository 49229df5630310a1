#include "gateway/agent_event.h"

#include <string.h>

#include "gateway/outside_json.h"

/* The types, each with its only member and that member's type (docs/protocols.md). */
static const struct {
    const char *type, *member;
    json_type member_type;
} kinds[] = {
    {"thread.started", "thread_id", JSON_STRING}, {"turn.started", NULL, JSON_NULL},
    {"turn.completed", "usage", JSON_OBJECT},     {"turn.failed", "error", JSON_OBJECT},
    {"item.started", "item", JSON_OBJECT},        {"item.updated", "item", JSON_OBJECT},
    {"item.completed", "item", JSON_OBJECT},      {"error", "message", JSON_STRING},
};

bool agent_event_parse(struct agent_event *event, const char *line, size_t len)
{
    *event = (struct agent_event){.root = outside_object(line, len)};
    const char *type = json_string_value(json_object_get(event->root, "type"));
    for (size_t i = 0; type && i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(type, kinds[i].type))
            continue;
        event->type = kinds[i].type;
        event->member = kinds[i].member;
        if (!event->member)
            return true;
        event->value = json_object_get(event->root, event->member);
        if (event->value && json_typeof(event->value) == kinds[i].member_type)
            return true;
    }
    agent_event_release(event);
    return false;
}

void agent_event_write(const struct agent_event *event, struct event_file *events, uint32_t phase)
{
    struct buf *out = event_begin(events, event->type, phase);
    if (event->member) {
        buf_appendf(out, ",\"%s\":", event->member);
        outside_append(out, event->value);
    }
    event_end(events);
}

void agent_event_release(struct agent_event *event)
{
    json_decref(event->root);
    *event = (struct agent_event){0};
}
