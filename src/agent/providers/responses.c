/*
 * OpenAI's Responses API: the request. Its members are those that openai/codex sends
 * (developers.openai.com, "Create a model response").
 *
 * Nothing is stored at the server (`store: false`): each request brings the whole conversation,
 * with the reasoning items' encrypted content, which is what carries a model's thinking from turn
 * to turn. `prompt_cache_key` keeps the requests of a task on one cache.
 */
#include "agent/providers/responses.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

/* Members that not every server or model takes: left out once it has said so. */
enum {
    OPTIONAL_SUMMARY = 1 << 0, /* OpenAI gives reasoning summaries to verified organisations only */
    OPTIONAL_VERBOSITY = 1 << 1,
    OPTIONAL_CACHE_KEY = 1 << 2,
    OPTIONAL_PARALLEL = 1 << 3,
    OPTIONAL_INCLUDE = 1 << 4,
    OPTIONAL_REASONING = 1 << 5, /* of models without it; `include` goes, too */
    OPTIONAL_CUSTOM = 1 << 6,    /* freeform tools: offered as functions instead */
};

/*
 * Freeform tools exist from GPT-5 on; other models, and other makers' servers, take functions only.
 * (The answer is read either way, whatever was offered.)
 */
static bool takes_custom_tools(const char *model)
{
    const char *slash = strrchr(model, '/'); /* "openai/gpt-5" */
    const char *name = slash ? slash + 1 : model;
    if (str_starts_with(name, "codex"))
        return true;
    return str_starts_with(name, "gpt-") && atoi(name + 4) >= 5;
}

/* Servers have many ways to say it. One that meant something else costs one more request. */
static bool is_about_kinds_of_tools(const struct failure *failure)
{
    return str_starts_with(failure->param, "tools") ||
           (strcasestr(failure->message, "tool") &&
            (strcasestr(failure->message, "custom") || strstr(failure->message, "'function'")));
}

static unsigned optional(const char *model, const struct failure *failure)
{
    static const struct {
        const char *param;
        unsigned bit;
    } params[] = {
        {"reasoning.summary", OPTIONAL_SUMMARY},    {"text", OPTIONAL_VERBOSITY},
        {"text.verbosity", OPTIONAL_VERBOSITY},     {"prompt_cache_key", OPTIONAL_CACHE_KEY},
        {"parallel_tool_calls", OPTIONAL_PARALLEL}, {"include", OPTIONAL_INCLUDE},
    };
    for (size_t i = 0; i < sizeof params / sizeof params[0]; i++)
        if (!strcmp(failure->param, params[i].param))
            return params[i].bit;
    /* Another code is about this effort: that is for the user to change. */
    if ((!strcmp(failure->param, "reasoning") || !strcmp(failure->param, "reasoning.effort")) &&
        !strcmp(failure->code, "unsupported_parameter"))
        return OPTIONAL_REASONING;
    return takes_custom_tools(model) && is_about_kinds_of_tools(failure) ? OPTIONAL_CUSTOM : 0;
}

/* The frame's parts are ours or were bounded by whoever read them: they fit. */
static void put(struct buf *out, const char *s)
{
    if (buf_append_str(out, s) < 0)
        abort();
}

static void put_string(struct buf *out, const char *s)
{
    if (json_text_cstring(out, s) < 0)
        abort();
}

static void put_member(struct buf *out, const char *name, const char *value)
{
    put(out, ",\"");
    put(out, name);
    put(out, "\":");
    put_string(out, value);
}

static void put_function(struct buf *out, const struct tool *tool)
{
    put(out, "{\"type\":\"function\"");
    put_member(out, "name", tool->name);
    put_member(out, "description", tool->description);
    put(out, ",\"strict\":false,\"parameters\":");
    put(out, tool->schema);
    put(out, "}");
}

static void put_custom(struct buf *out, const struct tool *tool)
{
    put(out, "{\"type\":\"custom\"");
    put_member(out, "name", tool->name);
    put_member(out, "description", tool->description);
    put(out, ",\"format\":{\"type\":\"grammar\",\"syntax\":\"lark\"");
    put_member(out, "definition", tool->schema);
    put(out, "}}");
}

/* The function form of a custom tool: no server enforces the grammar, so the model gets to read
 * it. */
static void put_custom_as_function(struct buf *out, const struct tool *tool)
{
    AUTO_FREE char *what =
        str_format("%s\n\n`%s` is plain text that follows this Lark grammar:\n%s",
                   tool->description, tool->argument, tool->schema);
    put(out, "{\"type\":\"function\"");
    put_member(out, "name", tool->name);
    put_member(out, "description", what);
    put(out, ",\"strict\":false,\"parameters\":{\"type\":\"object\",\"properties\":{");
    put_string(out, tool->argument);
    put(out, ":{\"type\":\"string\"}},\"required\":[");
    put_string(out, tool->argument);
    put(out, "],\"additionalProperties\":false}}");
}

static void put_tools(struct buf *out, const struct request_settings *settings, unsigned left_out)
{
    bool custom = takes_custom_tools(settings->model) && !(left_out & OPTIONAL_CUSTOM);
    bool first = true;
    put(out, ",\"tools\":[");
    for (size_t g = 0; g < settings->groups_count; g++) {
        for (size_t i = 0; i < settings->groups[g].count; i++) {
            const struct tool *tool = &settings->groups[g].tools[i];
            put(out, first ? "" : ",");
            first = false;
            if (tool->kind == TOOL_FUNCTION)
                put_function(out, tool);
            else if (custom)
                put_custom(out, tool);
            else
                put_custom_as_function(out, tool);
        }
    }
    put(out, "]");
}

static void put_reasoning(struct buf *out, const char *effort, unsigned left_out)
{
    put(out, ",\"reasoning\":{\"effort\":");
    put_string(out, effort);
    if (!(left_out & OPTIONAL_SUMMARY))
        put(out, ",\"summary\":\"auto\"");
    put(out, "}");
    if (!(left_out & OPTIONAL_INCLUDE))
        put(out, ",\"include\":[\"reasoning.encrypted_content\"]");
}

static void frame(const struct request_settings *settings, unsigned left_out, struct buf *head,
                  struct buf *tail)
{
    /* `model` first: the gateway can then refuse another model before it has seen the rest. */
    buf_clear(head);
    put(head, "{\"model\":");
    put_string(head, settings->model);
    put_member(head, "instructions", settings->instructions);
    put_tools(head, settings, left_out);
    put(head, ",\"input\":[");

    buf_clear(tail);
    put(tail, "],\"tool_choice\":\"auto\",\"store\":false,\"stream\":true");
    if (!(left_out & OPTIONAL_PARALLEL))
        put(tail, ",\"parallel_tool_calls\":true");
    if (settings->effort && !(left_out & OPTIONAL_REASONING))
        put_reasoning(tail, settings->effort, left_out);
    if (!(left_out & OPTIONAL_CACHE_KEY))
        put_member(tail, "prompt_cache_key", settings->cache_key);
    if (!(left_out & OPTIONAL_VERBOSITY)) /* "medium" is the one that every model takes */
        put(tail, ",\"text\":{\"verbosity\":\"medium\"}");
    put(tail, "}");
}

const struct provider provider_responses = {
    .wire_api = "responses",
    .path = "/responses",
    .frame = frame,
    .optional = optional,
    .user_message = responses_user_message,
    .call_output = responses_call_output,
    .read_item = responses_read_item,
    .answer_new = responses_answer_new,
    .answer_feed = responses_answer_feed,
    .answer_end = responses_answer_end,
    .answer_free = responses_answer_free,
};
