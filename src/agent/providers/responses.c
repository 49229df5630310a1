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

#include "agent/providers/body.h"
#include "agent/providers/request.h"
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

static unsigned optional(const char *model, unsigned left_out, const struct failure *failure)
{
    static const struct {
        const char *param;
        unsigned bit;
    } params[] = {
        {"reasoning.summary", OPTIONAL_SUMMARY},    {"text", OPTIONAL_VERBOSITY},
        {"text.verbosity", OPTIONAL_VERBOSITY},     {"prompt_cache_key", OPTIONAL_CACHE_KEY},
        {"parallel_tool_calls", OPTIONAL_PARALLEL}, {"include", OPTIONAL_INCLUDE},
    };
    if (failure->kind != FAILURE_REJECTED)
        return 0;
    for (size_t i = 0; i < sizeof params / sizeof params[0]; i++)
        if (!strcmp(failure->param, params[i].param))
            return params[i].bit;
    /* Another code is about this effort: that is for the user to change. */
    if ((!strcmp(failure->param, "reasoning") || !strcmp(failure->param, "reasoning.effort")) &&
        !strcmp(failure->code, "unsupported_parameter"))
        return OPTIONAL_REASONING;
    return takes_custom_tools(model) && is_about_kinds_of_tools(failure) ? OPTIONAL_CUSTOM : 0;
}

static void put_function(struct buf *out, const struct tool *tool)
{
    request_put(out, "{\"type\":\"function\"");
    request_put_member(out, "name", tool->name);
    request_put_description(out, tool);
    request_put(out, ",\"strict\":false,\"parameters\":");
    request_put_schema(out, tool);
    request_put(out, "}");
}

static void put_freeform(struct buf *out, const struct tool *tool)
{
    if (tool->kind == TOOL_FUNCTION) {
        put_function(out, tool);
        return;
    }
    request_put(out, "{\"type\":\"custom\"");
    request_put_member(out, "name", tool->name);
    request_put_member(out, "description", tool->description);
    request_put(out, ",\"format\":{\"type\":\"grammar\",\"syntax\":\"lark\"");
    request_put_member(out, "definition", tool->schema);
    request_put(out, "}}");
}

static void put_reasoning(struct buf *out, const char *effort, unsigned left_out)
{
    request_put(out, ",\"reasoning\":{\"effort\":");
    request_put_string(out, effort);
    if (!(left_out & OPTIONAL_SUMMARY))
        request_put(out, ",\"summary\":\"auto\"");
    request_put(out, "}");
    if (!(left_out & OPTIONAL_INCLUDE))
        request_put(out, ",\"include\":[\"reasoning.encrypted_content\"]");
}

static void frame(const struct request_settings *settings, unsigned left_out, struct buf *head,
                  struct buf *tail)
{
    /* `model` first: the gateway can then refuse another model before it has seen the rest. */
    buf_clear(head);
    request_put(head, "{\"model\":");
    request_put_string(head, settings->model);
    request_put_member(head, "instructions", settings->instructions);
    bool custom = takes_custom_tools(settings->model) && !(left_out & OPTIONAL_CUSTOM);
    request_put(head, ",\"tools\":[");
    request_put_tools(head, settings, custom ? put_freeform : put_function);
    request_put(head, "]");
    request_put(head, ",\"input\":[");

    buf_clear(tail);
    request_put(tail, "],\"tool_choice\":\"auto\",\"store\":false,\"stream\":true");
    if (!(left_out & OPTIONAL_PARALLEL))
        request_put(tail, ",\"parallel_tool_calls\":true");
    if (settings->effort && !(left_out & OPTIONAL_REASONING))
        put_reasoning(tail, settings->effort, left_out);
    if (!(left_out & OPTIONAL_CACHE_KEY))
        request_put_member(tail, "prompt_cache_key", settings->cache_key);
    if (!(left_out & OPTIONAL_VERBOSITY)) /* "medium" is the one that every model takes */
        request_put(tail, ",\"text\":{\"verbosity\":\"medium\"}");
    request_put(tail, "}");
}

const struct provider provider_responses = {
    .wire_api = "responses",
    .path = "/responses",
    .frame = frame,
    .optional = optional,
    .user_messages = responses_user_messages,
    .call_output = responses_call_output,
    .output_id = "call_id",
    .answer = {"", ""},
    .outputs = {"", ""},
    .image = {"{\"type\":\"input_image\",\"image_url\":\"data:", ";base64,", "\"}",
              "{\"type\":\"input_text\",\"text\":"},
    .read_item = responses_read_item,
    .answer_new = responses_answer_new,
    .answer_feed = body_feed,
    .answer_end = body_end,
    .answer_free = body_free,
};
