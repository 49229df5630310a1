/*
 * Streams that the runner hands over: a command's output, or the agent's event lines. Each is read
 * as fast as it can be written, so a sandbox that floods is slowed by its own pipe, and costs a
 * bounded amount of memory and of the event file.
 */
#ifndef CODEX_GATEWAY_STREAM_H
#define CODEX_GATEWAY_STREAM_H

#include <stdint.h>

#include "base/err.h"
#include "gateway/event_file.h"
#include "loop/loop.h"
#include "task/gateway_control.h"

enum {
    STREAMS_MAX = 64,
    /* Of one event stream, how many bytes of lines are looked at; each costs STREAM_EVENT_COST
     * more, so that many small ones are bounded as well. Behind that, only what ends a turn is
     * written (small lines, up to the reserve, and not for ever), and the rest is counted: neither
     * the event file nor the time spent on parsing grows with what a sandbox writes. */
    STREAM_EVENTS_MAX = 64 << 20,
    STREAM_EVENT_COST = 256,
    STREAM_EVENTS_RESERVE = 1 << 20,
    STREAM_LATE_LINES_MAX = 10000,
    STREAM_LATE_LINE_BYTES = 16384,
    STREAM_STOP_MAX = 1 << 20, /* read of a stopped stream: what its pipe may still hold */
};

struct streams;

/* Everything of stream NUMBER is in the event file. */
typedef void stream_ended_fn(void *arg, uint32_t number);

struct streams *streams_new(struct loop *loop, struct event_file *events, stream_ended_fn *ended,
                            void *arg);
void streams_free(struct streams *streams); /* without writing what still waits */

/* Read FD (owned from here on, whatever comes) to its end. ERR_PROTOCOL for a number that is in
 * use, one stream too many, or what cannot be waited for. */
int streams_add(struct streams *streams, uint32_t number, enum gateway_stream_kind kind,
                uint32_t phase, int fd, struct err *err);

/* Read only what stream NUMBER holds by now, and end it (`ended` is called). Unknown numbers are
 * fine: it may have ended meanwhile. */
void streams_stop(struct streams *streams, uint32_t number);

/* Stop them all. */
void streams_stop_all(struct streams *streams);

#endif
