/*
 * What the task has used of its token budget, and the events that say so: `model.usage` for each
 * response, `limit.hit` once the budget is used up.
 *
 * What an answer costs is known at its end. Until then, and for ever when nobody waits for that
 * end, it is estimated from the bytes that went both ways.
 */
#ifndef CODEX_GATEWAY_BUDGET_H
#define CODEX_GATEWAY_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/config.h"
#include "gateway/event_file.h"
#include "gateway/meter.h"

enum {
    BUDGET_BYTES_PER_TOKEN = 4, /* of English text; of JSON and code it is less */
    /* What an answer under way is taken to cost at least: before its first byte it may have been
     * thought about for long. */
    BUDGET_ANSWER_TOKENS = 4096,
    /* What an image is taken to cost at most, however many bytes it has: providers count its pixels,
     * scaled down to what they look at. */
    BUDGET_IMAGE_TOKENS = 5000,
};

struct budget {
    struct event_file *events;
    uint32_t phase; /* enum phase: where the run is */
    bool is_limited;
    int64_t limit, used; /* tokens, input and output together */
    int64_t under_way;   /* tokens that requests without an end hold */
    bool told;
};

/* One request and its answer: what is known of them. */
struct budget_hold {
    uint64_t request_bytes, answer_bytes;
    uint64_t image_bytes; /* of request_bytes: those of `images` */
    uint32_t images;
    int64_t tokens; /* private: held */
};

enum budget_answer {
    BUDGET_YES,
    BUDGET_LATER, /* what is left may be used up by what is under way */
    BUDGET_NO,    /* used up */
};

void budget_init(struct budget *budget, const struct gateway_config *config,
                 struct event_file *events);

/* May another request be made? The first BUDGET_NO is an event. */
enum budget_answer budget_ask(struct budget *budget);

/* HOLD's bytes have changed, or it is new and zero but for them. */
void budget_hold(struct budget *budget, struct budget_hold *hold);

/* It no longer holds anything. */
void budget_release(struct budget *budget, struct budget_hold *hold);

/* Count one response, as the provider counted it. */
void budget_count(struct budget *budget, const struct token_usage *usage);

/* Count one whose cost is not known, by HOLD's bytes. WHY goes into the event. */
void budget_count_estimate(struct budget *budget, const struct budget_hold *hold, const char *why);

#endif
