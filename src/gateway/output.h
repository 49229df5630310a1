/*
 * The output of a command as `phase.output` events: valid UTF-8 in pieces of at most 32 KiB, cut at
 * line ends where there are some, and gathered for a moment so that a program that writes byte by
 * byte does not make an event of each. Of output without end the head and the tail are kept: the
 * event file and the memory that this takes are bounded.
 */
#ifndef CODEX_GATEWAY_OUTPUT_H
#define CODEX_GATEWAY_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "gateway/event_file.h"
#include "loop/loop.h"

enum {
    OUTPUT_TEXT_MAX = 32768,     /* bytes of one event's text */
    OUTPUT_GATHER_MS = 50,       /* how long the first byte of an event waits for more */
    OUTPUT_PARTIAL_ROUNDS = 4,   /* how often a line without an end waits that long */
    OUTPUT_HEAD_MAX = 2 << 20,   /* of text; each event costs OUTPUT_EVENT_COST more */
    OUTPUT_EVENT_COST = 64,      /* so that many small events are bounded as well */
    OUTPUT_TAIL_MAX = 256 << 10, /* of bytes */
};

struct output {
    struct loop *loop;
    struct event_file *events;
    uint32_t phase;
    struct buf pending;
    struct loop_source *timer;
    unsigned rounds; /* that the unfinished line in `pending` has waited */
    size_t spent;    /* of the head */
    char *tail;      /* a ring, once the head is full; else NULL */
    uint64_t tail_total;
};

/* Nothing is allocated before output comes. */
void output_init(struct output *output, struct loop *loop, struct event_file *events,
                 uint32_t phase);

void output_feed(struct output *output, const char *bytes, size_t len);

/* There is no more: write what waits, the tail, and how much was left out. Releases everything. */
void output_end(struct output *output);

/* Write TEXT of the platform as one or more events, at once. */
void output_note(struct event_file *events, uint32_t phase, const char *text, size_t len);

#endif
