#include "gateway/meter.h"

#include <string.h>

enum member {
    MEMBER_OTHER,
    MEMBER_TYPE,
    MEMBER_RESPONSE,
    MEMBER_USAGE,
    MEMBER_INPUT,
    MEMBER_INPUT_DETAILS,
    MEMBER_CACHED,
    MEMBER_OUTPUT,
    MEMBER_OUTPUT_DETAILS,
    MEMBER_REASONING,
    MEMBER_COUNT,
};

static const char *const member_names[MEMBER_COUNT] = {
    [MEMBER_TYPE] = "type",
    [MEMBER_RESPONSE] = "response",
    [MEMBER_USAGE] = "usage",
    [MEMBER_INPUT] = "input_tokens",
    [MEMBER_INPUT_DETAILS] = "input_tokens_details",
    [MEMBER_CACHED] = "cached_tokens",
    [MEMBER_OUTPUT] = "output_tokens",
    [MEMBER_OUTPUT_DETAILS] = "output_tokens_details",
    [MEMBER_REASONING] = "reasoning_tokens",
};

static enum member member_of(const struct json_scan *scan)
{
    for (int i = MEMBER_OTHER + 1; i < MEMBER_COUNT; i++)
        if (json_scan_is(scan, member_names[i]))
            return i;
    return MEMBER_OTHER;
}

static void begin_document(struct meter *meter)
{
    json_scan_init(&meter->scan);
    meter->usage = (struct token_usage){0};
    meter->broken = meter->terminal = meter->found = false;
}

void meter_init(struct meter *meter)
{
    *meter = (struct meter){.format = METER_UNDECIDED};
    sse_init(&meter->sse, 0);
    begin_document(meter);
}

void meter_release(struct meter *meter)
{
    sse_release(&meter->sse);
}

static void take_number(struct meter *meter, const struct json_scan *scan)
{
    /* In a stream the response is a member of the event; else it is the document. */
    unsigned usage = meter->format == METER_STREAM ? 2 : 1;
    if (meter->path[usage] != MEMBER_USAGE || (usage == 2 && meter->path[1] != MEMBER_RESPONSE))
        return;
    int64_t n = json_scan_integer(scan, METER_TOKENS_MAX);
    if (n < 0)
        return;
    int member = meter->path[scan->depth];
    if (scan->depth == usage + 1 && (member == MEMBER_INPUT || member == MEMBER_OUTPUT)) {
        *(member == MEMBER_INPUT ? &meter->usage.input_tokens : &meter->usage.output_tokens) = n;
        meter->found = true;
    }
    if (scan->depth != usage + 2)
        return;
    if (member == MEMBER_CACHED && meter->path[usage + 1] == MEMBER_INPUT_DETAILS)
        meter->usage.cached_input_tokens = n;
    if (member == MEMBER_REASONING && meter->path[usage + 1] == MEMBER_OUTPUT_DETAILS)
        meter->usage.reasoning_output_tokens = n;
}

static bool ends_a_response(const struct json_scan *scan)
{
    return json_scan_is(scan, "response.completed") || json_scan_is(scan, "response.incomplete") ||
           json_scan_is(scan, "response.failed") || json_scan_is(scan, "response.done");
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
        meter->terminal = ends_a_response(scan);
    }
    return 0;
}

static void end_document(struct meter *meter)
{
    bool whole = !meter->broken && json_scan_end(&meter->scan, take_token, meter, NULL) == 0;
    meter->known = whole && meter->found && (meter->terminal || meter->format == METER_JSON);
    if (!meter->known)
        begin_document(meter);
}

static void feed_document(struct meter *meter, const char *bytes, size_t len)
{
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
    /* A stream may lack the empty line behind its last event: that it was meant counts here. */
    if (!meter->known)
        end_document(meter);
}
