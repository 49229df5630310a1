/*
 * Chat Completions: the request (developers.openai.com, "Create chat completion"), as OpenAI,
 * llama.cpp, vLLM, Ollama, LiteLLM, OpenRouter, DeepSeek and most others understand it.
 *
 * It says as little as it can, because servers refuse what they do not know: `tool_choice`,
 * `parallel_tool_calls` and a limit on the output are left to the server. The instructions are a
 * `system` message, which every server takes (DeepSeek knows no `developer`).
 */
#include "agent/providers/chat.h"

#include <string.h>

#include "agent/providers/body.h"
#include "agent/providers/request.h"

/* Members that not every server or model takes: left out once it has said so. */
enum {
    OPTIONAL_EFFORT = 1 << 0,
    /* Without it a stream has no usage, and the gateway lets none through that it cannot count. So
     * a server that does not know it is asked for the answer in one piece. */
    OPTIONAL_STREAM = 1 << 1,
    OPTIONAL_THOUGHTS = 1 << 2, /* in the messages of the assistant (Groq refuses its own) */
};

static bool is_about_thoughts(const struct failure *failure)
{
    if (!strcasestr(failure->message, "messages") && !strstr(failure->message, "assistant") &&
        strncmp(failure->param, "messages", 8) != 0)
        return false;
    /* DeepSeek misses them where they were never given: leaving out more does not help. */
    if (strcasestr(failure->message, "passed back"))
        return false;
    for (size_t i = 0; i < CHAT_THOUGHTS; i++)
        if (strstr(failure->message, chat_thoughts[i]) || strstr(failure->param, chat_thoughts[i]))
            return true;
    return false;
}

static unsigned optional(const char *model, unsigned left_out, const struct failure *failure)
{
    if (failure->kind != FAILURE_REJECTED)
        return 0;
    if (request_is_about(failure, "stream_options") || request_is_about(failure, "include_usage"))
        return OPTIONAL_STREAM;
    /* Ollama: "\"llama3\" does not support thinking". Claude behind LiteLLM misses blocks that a
     * chat does not carry; without an effort it does not think, and misses none. An effort that the
     * model lacks is for the user to change. */
    if (strcasestr(failure->message, "not support thinking") ||
        strcasestr(failure->message, "expected `thinking`"))
        return OPTIONAL_EFFORT;
    if (request_is_about(failure, "reasoning_effort"))
        return request_is_about_value(failure) ? 0 : OPTIONAL_EFFORT;
    return is_about_thoughts(failure) ? OPTIONAL_THOUGHTS : 0;
}

static bool adapt(struct json_span conversation, unsigned left_out, struct buf *out)
{
    return (left_out & OPTIONAL_THOUGHTS) && chat_leave_out_thoughts(conversation, out);
}

static void put_function(struct buf *out, const struct tool *tool)
{
    request_put(out, "{\"type\":\"function\",\"function\":{\"name\":");
    request_put_string(out, tool->name);
    request_put_description(out, tool);
    request_put(out, ",\"parameters\":");
    request_put_schema(out, tool);
    request_put(out, "}}");
}

static void frame(const struct request_settings *settings, unsigned left_out, struct buf *head,
                  struct buf *tail)
{
    /* `model` first: the gateway can then refuse another model before it has seen the rest. */
    buf_clear(head);
    request_put(head, "{\"model\":");
    request_put_string(head, settings->model);
    request_put(head, ",\"tools\":[");
    request_put_tools(head, settings, put_function);
    request_put(head, "],\"messages\":[{\"role\":\"system\",\"content\":");
    request_put_string(head, settings->instructions);
    request_put(head, "},");

    buf_clear(tail);
    request_put(tail, "]");
    if (settings->effort && !(left_out & OPTIONAL_EFFORT))
        request_put_member(tail, "reasoning_effort", settings->effort);
    if (left_out & OPTIONAL_STREAM)
        request_put(tail, ",\"stream\":false}");
    else
        request_put(tail, ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
}

const struct provider provider_chat = {
    .wire_api = "chat",
    .path = "/chat/completions",
    .frame = frame,
    .optional = optional,
    .adapt = adapt,
    .user_messages = chat_user_messages,
    .call_output = chat_call_output,
    .output_id = "tool_call_id",
    .answer = {"", ""},
    .outputs = {"", ""},
    .output_image = chat_output_image,
    .images = {"{\"role\":\"user\",\"content\":[", "]}"},
    .image = {"{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:", ";base64,", "\"}}",
              "{\"type\":\"text\",\"text\":"},
    .read_item = chat_read_item,
    .answer_new = chat_answer_new,
    .answer_feed = body_feed,
    .answer_end = body_end,
    .answer_free = body_free,
};
