/*
 * Reading what a response cost, out of its bytes as they pass: the `usage` in the events of a
 * stream or in a plain JSON body. Which of the two it is, the first byte tells: servers name either
 * by either content type, or by none. Memory is fixed, however large the response.
 *
 * responses: in the event that ends the stream. chat: in one of the last chunks, or in every one;
 * the last counts. messages: in the first event and in one of the last (only with that is it known); each
 * figure's last counts, and `input_tokens` are those that no cache had.
 */
#ifndef CODEX_GATEWAY_METER_H
#define CODEX_GATEWAY_METER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/json_scan.h"
#include "gateway/wire.h"
#include "http/sse.h"
#include "task/usage.h"

enum { METER_TOKENS_MAX = 1000000000 }; /* of one figure; a larger one is not believed */

enum { METER_DEPTH = 4 }; /* response, usage, input_tokens_details, cached_tokens */

enum meter_figure {
    METER_INPUT,
    METER_CACHE_READ,
    METER_CACHE_WRITTEN,
    METER_OUTPUT,
    METER_REASONING,
    METER_FIGURES,
};

struct meter_figures {
    int64_t figure[METER_FIGURES]; /* -1: not told */
};

struct meter {
    bool known; /* `usage` is final */
    struct token_usage usage;

    /* private */
    enum wire_kind wire;
    enum { METER_UNDECIDED, METER_STREAM, METER_JSON } format;
    struct sse sse;
    struct json_scan scan;
    int path[METER_DEPTH + 1];    /* the member that is being read, at each depth */
    bool broken;                  /* no JSON: skipped to the end of the event */
    bool counts, concludes, ends; /* what the event's type says of it */
    bool concluded;               /* the figures so far are those of a whole answer */
    char front[8];                /* of the event */
    size_t len;
    struct meter_figures event, so_far;
};

void meter_init(struct meter *meter, enum wire_kind wire);
void meter_release(struct meter *meter);

/* The next bytes of the answer; `known` may become true. */
void meter_feed(struct meter *meter, const char *bytes, size_t len);

/* The answer has ended, also in the middle: likewise. */
void meter_end(struct meter *meter);

#endif
