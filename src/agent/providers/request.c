#include "agent/providers/request.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

void request_put(struct buf *out, const char *s)
{
    if (buf_append_str(out, s) < 0)
        abort();
}

void request_put_string(struct buf *out, const char *s)
{
    if (json_text_cstring(out, s) < 0)
        abort();
}

void request_put_member(struct buf *out, const char *name, const char *value)
{
    request_put(out, ",\"");
    request_put(out, name);
    request_put(out, "\":");
    request_put_string(out, value);
}

void request_put_description(struct buf *out, const struct tool *tool)
{
    if (tool->kind == TOOL_FUNCTION) {
        request_put_member(out, "description", tool->description);
        return;
    }
    AUTO_FREE char *what =
        str_format("%s\n\n`%s` is plain text that follows this Lark grammar:\n%s",
                   tool->description, tool->argument, tool->schema);
    request_put_member(out, "description", what);
}

void request_put_schema(struct buf *out, const struct tool *tool)
{
    if (tool->kind == TOOL_FUNCTION) {
        request_put(out, tool->schema);
        return;
    }
    request_put(out, "{\"type\":\"object\",\"properties\":{");
    request_put_string(out, tool->argument);
    request_put(out, ":{\"type\":\"string\"}},\"required\":[");
    request_put_string(out, tool->argument);
    request_put(out, "],\"additionalProperties\":false}");
}

void request_put_tools(struct buf *out, const struct request_settings *settings,
                       void (*put)(struct buf *out, const struct tool *tool))
{
    bool first = true;
    for (size_t g = 0; g < settings->groups_count; g++)
        for (size_t i = 0; i < settings->groups[g].count; i++) {
            request_put(out, first ? "" : ",");
            first = false;
            put(out, &settings->groups[g].tools[i]);
        }
}

bool request_is_about(const struct failure *failure, const char *name)
{
    return !strcmp(failure->param, name) || strcasestr(failure->message, name);
}

bool request_is_about_value(const struct failure *failure)
{
    return !strcmp(failure->code, "unsupported_value") || !strcmp(failure->code, "invalid_value") ||
           strcasestr(failure->message, "input should be") ||
           strcasestr(failure->message, "must be") || strcasestr(failure->message, " value");
}
