/*
 * Reading what a response cost, out of its bytes as they pass: the `usage` of a Responses answer,
 * in the last event of a stream or in a plain JSON body. Which of the two it is, the first byte
 * tells: servers name either by either content type, or by none. Memory is fixed, however large the
 * response.
 */
#ifndef CODEX_GATEWAY_METER_H
#define CODEX_GATEWAY_METER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/json_scan.h"
#include "http/sse.h"
#include "task/usage.h"

enum { METER_TOKENS_MAX = 1000000000 }; /* of one figure; a larger one is not believed */

enum { METER_DEPTH = 4 }; /* response, usage, input_tokens_details, cached_tokens */

struct meter {
    bool known; /* `usage` is final */
    struct token_usage usage;

    /* private */
    enum { METER_UNDECIDED, METER_STREAM, METER_JSON } format;
    struct sse sse;
    struct json_scan scan;
    int path[METER_DEPTH + 1]; /* the member that is being read, at each depth */
    bool broken;               /* no JSON: skipped to the end of the event */
    bool terminal;             /* an event that ends a response */
    bool found;
};

void meter_init(struct meter *meter);
void meter_release(struct meter *meter);

/* The next bytes of the answer; `known` may become true. */
void meter_feed(struct meter *meter, const char *bytes, size_t len);

/* The answer has ended, also in the middle: likewise. */
void meter_end(struct meter *meter);

#endif
