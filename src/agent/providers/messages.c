/*
 * Anthropic's Messages API: the request (platform.claude.com/docs, "Create a Message"), as
 * Anthropic, and gateways and servers that speak it (LiteLLM, vLLM, llama.cpp, Ollama, DeepSeek),
 * understand it.
 *
 * Thinking is carried by the blocks that come back unchanged, with their signatures. How much of it
 * there is, models from Claude 4.6 on are told by an effort, and decide for themselves ("adaptive");
 * older ones, and other makers', get a budget of tokens. The prompt cache has two marks: behind the
 * instructions (with the tools before them), and, set by the server, at the end of the
 * conversation.
 */
#include "agent/providers/messages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/providers/body.h"
#include "agent/providers/request.h"

/* What a server or model does not take: left out, or said in another way, once it has said so. */
enum {
    OPTIONAL_CACHE = 1 << 0,
    OPTIONAL_EFFORT = 1 << 1,
    OPTIONAL_DISPLAY = 1 << 2,  /* newer models tell their thoughts only when asked to */
    OPTIONAL_ADAPTIVE = 1 << 3, /* a budget instead */
    OPTIONAL_BUDGET = 1 << 4,   /* adaptive instead; with the bit before it, no thinking */
    OPTIONAL_TOKENS = 1 << 5,   /* fewer output tokens; three bits */
    OPTIONAL_TOKENS_2 = 1 << 6,
    OPTIONAL_TOKENS_3 = 1 << 7,
};

/* "claude-sonnet-4-5-20250929", "claude-3-7-sonnet-latest", "anthropic/claude-opus-4.6": 405, 307,
 * 406. 0 for another maker's model, 9999 for a Claude without a number (a preview). */
static int claude_version(const char *model)
{
    const char *name = strstr(model, "claude-");
    if (!name)
        return 0;
    for (const char *p = name; *p; p += strcspn(p, "-") + (p[strcspn(p, "-")] == '-')) {
        unsigned major, minor = 0;
        int len = 0;
        if (sscanf(p, "%2u%n", &major, &len) != 1 || (p[len] && !strchr("-.", p[len])))
            continue;
        int more = 0;
        if (p[len] && (sscanf(p + len + 1, "%2u%n", &minor, &more) != 1 ||
                       (p[len + 1 + more] >= '0' && p[len + 1 + more] <= '9')))
            minor = 0; /* a word, or a date */
        return (int)(major * 100 + minor);
    }
    return 9999;
}

enum thinking { THINKING_OFF, THINKING_BUDGET, THINKING_ADAPTIVE };

static enum thinking thinking_of(const char *model, unsigned left_out)
{
    int version = claude_version(model);
    bool adaptive = version >= 406;
    if ((version && version < 307) ||
        ((left_out & OPTIONAL_ADAPTIVE) && (left_out & OPTIONAL_BUDGET)))
        return THINKING_OFF;
    if (left_out & (adaptive ? OPTIONAL_ADAPTIVE : OPTIONAL_BUDGET))
        adaptive = !adaptive;
    return adaptive ? THINKING_ADAPTIVE : THINKING_BUDGET;
}

/* What models can write at most, by their generation. */
static int max_tokens(const char *model, unsigned left_out)
{
    static const int amounts[] = {64000, 32000, 8192, 4096};
    int step = claude_version(model) >= 406 ? 0 : 1;
    for (unsigned bit = OPTIONAL_TOKENS; bit <= OPTIONAL_TOKENS_3; bit <<= 1)
        step += (left_out & bit) != 0;
    return amounts[step < 3 ? step : 3];
}

/* The shares of the output that OpenRouter gives to an effort. */
static int budget_of(const char *effort, int tokens)
{
    int percent = !strcmp(effort, "low") ? 20 : !strcmp(effort, "medium") ? 50 : 80;
    if (!strcmp(effort, "xhigh"))
        percent = 95;
    int budget = tokens / 100 * percent;
    return budget < 1024 ? 1024 : budget; /* the least that is taken */
}

static unsigned optional_thinking(const char *model, unsigned left_out)
{
    switch (thinking_of(model, left_out)) {
    case THINKING_ADAPTIVE:
        return OPTIONAL_ADAPTIVE;
    case THINKING_BUDGET:
        return OPTIONAL_BUDGET;
    default:
        return 0;
    }
}

static unsigned optional(const char *model, unsigned left_out, const struct failure *failure)
{
    /* Also "input length and `max_tokens` exceed context limit". */
    if (request_is_about(failure, "max_tokens"))
        for (unsigned bit = OPTIONAL_TOKENS; bit <= OPTIONAL_TOKENS_3; bit <<= 1)
            if (!(left_out & bit))
                return max_tokens(model, left_out | bit) < max_tokens(model, left_out) ? bit : 0;
    if (failure->kind != FAILURE_REJECTED)
        return 0;
    if (request_is_about(failure, "cache_control"))
        return OPTIONAL_CACHE;
    if (request_is_about(failure, "display") && !(left_out & OPTIONAL_DISPLAY))
        return OPTIONAL_DISPLAY;
    /* Of a block of the conversation nothing can be left out. */
    if (strcasestr(failure->message, "thinking") && !strstr(failure->message, "messages."))
        return optional_thinking(model, left_out);
    /* An effort that the model lacks is for the user to change. */
    if (request_is_about(failure, "effort") || request_is_about(failure, "output_config"))
        return request_is_about_value(failure) ? 0 : OPTIONAL_EFFORT;
    return 0;
}

static size_t headers(const struct request_settings *settings, unsigned left_out,
                      struct http_header out[PROVIDER_HEADERS_MAX])
{
    int version = claude_version(settings->model);
    size_t count = 0;
    out[count++] = (struct http_header){"anthropic-version", "2023-06-01"};
    /* Claude 4 to 4.5 think between their calls only with it; later ones do anyway. */
    if (settings->effort && version >= 400 && version < 406)
        out[count++] = (struct http_header){"anthropic-beta", "interleaved-thinking-2025-05-14"};
    return count;
}

static void put_tool(struct buf *out, const struct tool *tool)
{
    request_put(out, "{\"name\":");
    request_put_string(out, tool->name);
    request_put_description(out, tool);
    request_put(out, ",\"input_schema\":");
    request_put_schema(out, tool);
    request_put(out, "}");
}

static void put_number(struct buf *out, const char *before, int n)
{
    if (buf_appendf(out, "%s%d", before, n) < 0)
        abort();
}

static void put_thinking(struct buf *out, const struct request_settings *settings,
                         unsigned left_out)
{
    enum thinking thinking = thinking_of(settings->model, left_out);
    if (thinking == THINKING_BUDGET) {
        int budget = budget_of(settings->effort, max_tokens(settings->model, left_out));
        put_number(out, ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":", budget);
        request_put(out, "}");
    }
    if (thinking != THINKING_ADAPTIVE)
        return;
    request_put(out, ",\"thinking\":{\"type\":\"adaptive\"");
    request_put(out, left_out & OPTIONAL_DISPLAY ? "}" : ",\"display\":\"summarized\"}");
    if (left_out & OPTIONAL_EFFORT)
        return;
    request_put(out, ",\"output_config\":{\"effort\":");
    request_put_string(out, settings->effort);
    request_put(out, "}");
}

static const char cache_mark[] = ",\"cache_control\":{\"type\":\"ephemeral\"}";

static void frame(const struct request_settings *settings, unsigned left_out, struct buf *head,
                  struct buf *tail)
{
    const char *mark = left_out & OPTIONAL_CACHE ? "" : cache_mark;
    /* `model` first: the gateway can then refuse another model before it has seen the rest. */
    buf_clear(head);
    request_put(head, "{\"model\":");
    request_put_string(head, settings->model);
    put_number(head, ",\"max_tokens\":", max_tokens(settings->model, left_out));
    request_put(head, ",\"tools\":[");
    request_put_tools(head, settings, put_tool);
    request_put(head, "],\"system\":[{\"type\":\"text\",\"text\":");
    request_put_string(head, settings->instructions);
    request_put(head, mark);
    request_put(head, "}],\"messages\":[");

    buf_clear(tail);
    request_put(tail, "],\"stream\":true");
    request_put(tail, mark);
    if (settings->effort)
        put_thinking(tail, settings, left_out);
    request_put(tail, "}");
}

const struct provider provider_messages = {
    .wire_api = "messages",
    .path = "/messages",
    .headers = headers,
    .frame = frame,
    .optional = optional,
    .user_messages = messages_user_messages,
    .call_output = messages_call_output,
    .output_id = "tool_use_id",
    .answer = {"{\"role\":\"assistant\",\"content\":[", "]}"},
    .outputs = {"{\"role\":\"user\",\"content\":[", "]}"},
    .image = {"{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"",
              "\",\"data\":\"", "\"}}", "{\"type\":\"text\",\"text\":"},
    .read_item = messages_read_item,
    .answer_new = messages_answer_new,
    .answer_feed = body_feed,
    .answer_end = body_end,
    .answer_free = body_free,
};
