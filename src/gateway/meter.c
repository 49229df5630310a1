#include "gateway/meter.h"

#include <string.h>

enum member {
    MEMBER_OTHER,
    MEMBER_TYPE,
    MEMBER_RESPONSE,
    MEMBER_MESSAGE,
    MEMBER_USAGE,
    MEMBER_INPUT,
    MEMBER_INPUT_DETAILS,
    MEMBER_CACHED,
    MEMBER_OUTPUT,
    MEMBER_OUTPUT_DETAILS,
    MEMBER_REASONING,
    MEMBER_PROMPT,
    MEMBER_PROMPT_DETAILS,
    MEMBER_PROMPT_CACHE_HIT,
    MEMBER_COMPLETION,
    MEMBER_COMPLETION_DETAILS,
    MEMBER_CACHE_CREATION,
    MEMBER_CACHE_READ,
    MEMBER_THINKING,
    MEMBER_COUNT,
};

static const char *const member_names[MEMBER_COUNT] = {
    [MEMBER_TYPE] = "type",
    [MEMBER_RESPONSE] = "response",
    [MEMBER_MESSAGE] = "message",
    [MEMBER_USAGE] = "usage",
    [MEMBER_INPUT] = "input_tokens",
    [MEMBER_INPUT_DETAILS] = "input_tokens_details",
    [MEMBER_CACHED] = "cached_tokens",
    [MEMBER_OUTPUT] = "output_tokens",
    [MEMBER_OUTPUT_DETAILS] = "output_tokens_details",
    [MEMBER_REASONING] = "reasoning_tokens",
    [MEMBER_PROMPT] = "prompt_tokens",
    [MEMBER_PROMPT_DETAILS] = "prompt_tokens_details",
    [MEMBER_PROMPT_CACHE_HIT] = "prompt_cache_hit_tokens", /* DeepSeek */
    [MEMBER_COMPLETION] = "completion_tokens",
    [MEMBER_COMPLETION_DETAILS] = "completion_tokens_details",
    [MEMBER_CACHE_CREATION] = "cache_creation_input_tokens",
    [MEMBER_CACHE_READ] = "cache_read_input_tokens",
    [MEMBER_THINKING] = "thinking_tokens",
};

/* Where a wire tells a figure: within `usage`. */
static const struct {
    enum wire_kind wire;
    enum meter_figure figure;
    int path[2]; /* the second MEMBER_OTHER: the first is the figure */
} places[] = {
    {WIRE_RESPONSES, METER_INPUT, {MEMBER_INPUT}},
    {WIRE_RESPONSES, METER_CACHE_READ, {MEMBER_INPUT_DETAILS, MEMBER_CACHED}},
    {WIRE_RESPONSES, METER_OUTPUT, {MEMBER_OUTPUT}},
    {WIRE_RESPONSES, METER_REASONING, {MEMBER_OUTPUT_DETAILS, MEMBER_REASONING}},
    {WIRE_CHAT, METER_INPUT, {MEMBER_PROMPT}},
    {WIRE_CHAT, METER_CACHE_READ, {MEMBER_PROMPT_DETAILS, MEMBER_CACHED}},
    {WIRE_CHAT, METER_CACHE_READ, {MEMBER_PROMPT_CACHE_HIT}},
    {WIRE_CHAT, METER_OUTPUT, {MEMBER_COMPLETION}},
    {WIRE_CHAT, METER_REASONING, {MEMBER_COMPLETION_DETAILS, MEMBER_REASONING}},
    {WIRE_MESSAGES, METER_INPUT, {MEMBER_INPUT}},
    {WIRE_MESSAGES, METER_CACHE_WRITTEN, {MEMBER_CACHE_CREATION}},
    {WIRE_MESSAGES, METER_CACHE_READ, {MEMBER_CACHE_READ}},
    {WIRE_MESSAGES, METER_OUTPUT, {MEMBER_OUTPUT}},
    {WIRE_MESSAGES, METER_REASONING, {MEMBER_OUTPUT_DETAILS, MEMBER_THINKING}},
};

static enum member member_of(const struct json_scan *scan)
{
    for (int i = MEMBER_OTHER + 1; i < MEMBER_COUNT; i++)
        if (json_scan_is(scan, member_names[i]))
            return i;
    return MEMBER_OTHER;
}

static void clear(struct meter_figures *figures)
{
    for (size_t i = 0; i < METER_FIGURES; i++)
        figures->figure[i] = -1;
}

static bool tell_something(const struct meter_figures *figures)
{
    return figures->figure[METER_INPUT] >= 0 || figures->figure[METER_OUTPUT] >= 0;
}

static void begin_document(struct meter *meter)
{
    json_scan_init(&meter->scan);
    clear(&meter->event);
    meter->broken = false;
    meter->counts = meter->concludes = meter->wire == WIRE_CHAT; /* its events have no type */
    meter->ends = false;
    meter->len = 0;
}

void meter_init(struct meter *meter, enum wire_kind wire)
{
    *meter = (struct meter){.wire = wire, .format = METER_UNDECIDED};
    sse_init(&meter->sse, 0);
    clear(&meter->so_far);
    begin_document(meter);
}

void meter_release(struct meter *meter)
{
    sse_release(&meter->sse);
}

/* How many members stand before `usage`, or -1: the place is none for it. In a stream the response
 * may be a member of the event; else it is the document. */
static int depth_of_usage(const struct meter *meter)
{
    int before = 0;
    if (meter->format == METER_STREAM && meter->wire == WIRE_RESPONSES)
        before = meter->path[1] == MEMBER_RESPONSE ? 1 : -1;
    else if (meter->format == METER_STREAM && meter->wire == WIRE_MESSAGES)
        before = meter->path[1] == MEMBER_MESSAGE;
    return before >= 0 && meter->path[before + 1] == MEMBER_USAGE ? before : -1;
}

static void take_number(struct meter *meter, const struct json_scan *scan)
{
    int before = depth_of_usage(meter);
    int64_t n = json_scan_integer(scan, METER_TOKENS_MAX);
    if (before < 0 || n < 0)
        return;
    const int *path = meter->path + before + 2;
    int depth = (int)scan->depth - before - 1; /* within `usage` */
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (places[i].wire == meter->wire && depth == (places[i].path[1] ? 2 : 1) &&
            places[i].path[0] == path[0] && (depth == 1 || places[i].path[1] == path[1]))
            meter->event.figure[places[i].figure] = n;
}

static void take_type(struct meter *meter, const struct json_scan *scan)
{
    if (meter->wire == WIRE_RESPONSES) {
        meter->ends = json_scan_is(scan, "response.completed") ||
                      json_scan_is(scan, "response.incomplete") ||
                      json_scan_is(scan, "response.failed") || json_scan_is(scan, "response.done");
        meter->counts = meter->concludes = meter->ends;
    } else if (meter->wire == WIRE_MESSAGES) {
        meter->ends = json_scan_is(scan, "message_stop");
        meter->concludes = json_scan_is(scan, "message_delta");
        meter->counts = meter->concludes || json_scan_is(scan, "message_start");
    }
}

static int take_token(void *arg, const struct json_scan *scan, enum json_token token)
{
    struct meter *meter = arg;
    if (token == JSON_TOKEN_OBJECT || token == JSON_TOKEN_ARRAY) {
        if (scan->depth < METER_DEPTH)
            meter->path[scan->depth + 1] = MEMBER_OTHER;
    } else if (scan->depth > METER_DEPTH) {
        return 0;
    } else if (token == JSON_TOKEN_KEY) {
        meter->path[scan->depth] = member_of(scan);
    } else if (token == JSON_TOKEN_NUMBER) {
        take_number(meter, scan);
    } else if (token == JSON_TOKEN_STRING && scan->depth == 1 && meter->path[1] == MEMBER_TYPE) {
        take_type(meter, scan);
    }
    return 0;
}

static int64_t figure(const struct meter *meter, enum meter_figure which)
{
    int64_t n = meter->so_far.figure[which];
    return n > 0 ? n : 0;
}

/* The figures so far are final. */
static void finish(struct meter *meter)
{
    meter->known = tell_something(&meter->so_far);
    meter->usage = (struct token_usage){
        .input_tokens = figure(meter, METER_INPUT),
        .cached_input_tokens = figure(meter, METER_CACHE_READ),
        .output_tokens = figure(meter, METER_OUTPUT),
        .reasoning_output_tokens = figure(meter, METER_REASONING),
    };
    if (meter->wire == WIRE_MESSAGES)
        meter->usage.input_tokens +=
            figure(meter, METER_CACHE_READ) + figure(meter, METER_CACHE_WRITTEN);
}

static void count_document(struct meter *meter)
{
    if (meter->wire != WIRE_MESSAGES && tell_something(&meter->event))
        clear(&meter->so_far); /* every usage is a whole one */
    meter->concluded |= meter->concludes && tell_something(&meter->event);
    for (size_t i = 0; i < METER_FIGURES; i++)
        if (meter->event.figure[i] >= 0)
            meter->so_far.figure[i] = meter->event.figure[i];
}

static void end_document(struct meter *meter)
{
    static const char done[] = "[DONE]"; /* what ends a stream of chunks */
    bool is_json = meter->format == METER_JSON;
    bool whole = !meter->broken && json_scan_end(&meter->scan, take_token, meter, NULL) == 0;
    if (whole && (meter->counts || is_json))
        count_document(meter);
    bool is_done = meter->wire == WIRE_CHAT && meter->len == sizeof done - 1 &&
                   !memcmp(meter->front, done, sizeof done - 1);
    if (is_done || (whole && (meter->ends || is_json)))
        finish(meter);
    begin_document(meter);
}

static void feed_document(struct meter *meter, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len && meter->len + i < sizeof meter->front; i++)
        meter->front[meter->len + i] = bytes[i];
    meter->len += len;
    if (!meter->broken)
        meter->broken = json_scan_feed(&meter->scan, bytes, len, take_token, meter, NULL) < 0;
}

static int take_piece(void *arg, const char *bytes, size_t len)
{
    struct meter *meter = arg;
    if (meter->known) /* the figures are final: what follows the last event does not count */
        return 0;
    if (bytes)
        feed_document(meter, bytes, len);
    else
        end_document(meter);
    return 0;
}

static void decide(struct meter *meter, const char *bytes, size_t len)
{
    size_t i = 0;
    while (i < len && memchr(" \t\r\n", bytes[i], 4))
        i++;
    if (i < len)
        meter->format = bytes[i] == '{' ? METER_JSON : METER_STREAM;
}

void meter_feed(struct meter *meter, const char *bytes, size_t len)
{
    if (meter->format == METER_UNDECIDED)
        decide(meter, bytes, len);
    if (meter->format == METER_STREAM)
        sse_feed_pieces(&meter->sse, bytes, len, take_piece, meter);
    else if (meter->format == METER_JSON)
        feed_document(meter, bytes, len);
}

void meter_end(struct meter *meter)
{
    if (meter->known)
        return;
    /* A stream may lack the empty line behind its last event: that it was meant counts here. */
    end_document(meter);
    /* The end did not come, but nothing of what it cost is missing. */
    if (!meter->known && meter->concluded)
        finish(meter);
}
