/*
 * Bytes from one socket to another, as fast as the slower one goes: nothing is read before what was
 * read has been written.
 */
#ifndef CODEX_GATEWAY_EGRESS_FLOW_H
#define CODEX_GATEWAY_EGRESS_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* Append to OUT what becomes of LEN bytes (0: the end) that were read. Returns 0, 1 when nothing
 * more is to be read, or negative: the flow is broken. */
typedef int flow_filter_fn(void *arg, const char *bytes, size_t len, struct buf *out);

struct flow {
    int from, to; /* not owned, non-blocking */
    flow_filter_fn *filter;
    void *arg;      /* of the filter; NULL filter: as they are */
    struct buf out; /* read, and not yet written */
    size_t out_sent;
    bool ended;     /* nothing more is read */
    bool shuts;     /* the end is passed on: TO is shut down for writing then */
    bool finished;  /* ended, everything written, the end passed on */
    uint64_t bytes; /* that were read */
};

/* MAX: bytes that it may hold. */
void flow_init(struct flow *flow, int from, int to, size_t max);
void flow_release(struct flow *flow);

/* What it waits for. */
bool flow_reads(const struct flow *flow);
bool flow_writes(const struct flow *flow);

/* Do what can be done now. Returns 1 when something moved, 0 when not, FLOW_BROKEN_READ when FROM is
 * broken (or the filter), FLOW_BROKEN_WRITE when TO is. */
enum { FLOW_BROKEN_READ = -1, FLOW_BROKEN_WRITE = -2 };
int flow_move(struct flow *flow);

#endif
