/*
 * Server-sent events, read as the HTML standard says (section 9.2.6, "Interpreting an event
 * stream"): from bytes that come in pieces of any size, to whole events or, for a reader that must
 * not hold them, to pieces of their data.
 */
#ifndef CODEX_HTTP_SSE_H
#define CODEX_HTTP_SSE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct sse_event {
    const char *type; /* "message" when the stream names none */
    const char *data; /* lines joined by \n; NUL-terminated, data_len bytes */
    size_t data_len;
    const char *id; /* the last id seen in the stream, "" at first */
};

/* Valid during the call only. A negative return stops the feeding and is returned by it. */
typedef int sse_event_fn(void *arg, const struct sse_event *event);

/* The next bytes of the current event's data; BYTES NULL: the event has ended. As above. */
typedef int sse_piece_fn(void *arg, const char *bytes, size_t len);

enum { SSE_NAME_SIZE = 8 };

struct sse {
    struct buf type, data, id;
    /* private: the line that is being read */
    struct buf value;         /* of `event` and `id` */
    char name[SSE_NAME_SIZE]; /* cut: longer than any that counts */
    size_t name_len;
    int state, field;
    bool unusable; /* its value: a NUL in it, or too long */
    bool has_data;
    bool after_cr; /* a \n that follows belongs to the line end */
    bool started;  /* the byte order mark can no longer come */
};

/* MAX bounds one event's data, in bytes. */
void sse_init(struct sse *sse, size_t max);
void sse_release(struct sse *sse);

/* Returns 0, ERR_LIMIT when an event is larger than the maximum, or what FN returned. An event
 * that the stream's end cuts off is never delivered. */
int sse_feed(struct sse *sse, const char *bytes, size_t len, sse_event_fn *fn, void *arg,
             struct err *err);

/* The same without holding any data, and so without a maximum. One stream is read one way only. */
int sse_feed_pieces(struct sse *sse, const char *bytes, size_t len, sse_piece_fn *fn, void *arg);

#endif
