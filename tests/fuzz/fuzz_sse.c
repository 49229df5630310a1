/*
 * Server-sent events: read whole in one piece, read whole in small pieces, and read by pieces of
 * data, the same stream must give the same events. Input: a byte with the size of the small pieces,
 * and the stream.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "http/sse.h"

enum { EVENT_MAX = 1 << 16, LOG_MAX = 1 << 22 };

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* The data of each event, ended by a byte that no event's data can hold as such: \r. */
static int note_event(void *arg, const struct sse_event *event)
{
    require(event->type[0] && event->data[event->data_len] == '\0');
    require(!memchr(event->data, '\r', event->data_len));
    buf_append(arg, event->data, event->data_len);
    return buf_append_char(arg, '\r');
}

static int note_piece(void *arg, const char *bytes, size_t len)
{
    require(!bytes || len);
    return bytes ? buf_append(arg, bytes, len) : buf_append_char(arg, '\r');
}

static int read_events(const char *bytes, size_t len, size_t step, struct buf *log)
{
    struct sse sse;
    struct err err;
    int status = 0;
    sse_init(&sse, EVENT_MAX);
    for (size_t at = 0; at < len && status == 0; at += step)
        status =
            sse_feed(&sse, bytes + at, len - at < step ? len - at : step, note_event, log, &err);
    sse_release(&sse);
    return status;
}

static void read_pieces(const char *bytes, size_t len, size_t step, struct buf *log)
{
    struct sse sse;
    sse_init(&sse, 0);
    for (size_t at = 0; at < len; at += step)
        require(sse_feed_pieces(&sse, bytes + at, len - at < step ? len - at : step, note_piece,
                                log) == 0);
    sse_release(&sse);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > EVENT_MAX)
        return 0;
    size_t step = data[0] % 16 + 1, len = size - 1;
    AUTO_FREE char *bytes =
        malloc(len); /* of exactly its size, so that a read past its end is seen */
    require(bytes);
    memcpy(bytes, data + 1, len);
    AUTO_BUF struct buf whole, split, pieces;
    buf_init(&whole, LOG_MAX);
    buf_init(&split, LOG_MAX);
    buf_init(&pieces, LOG_MAX);
    require(read_events(bytes, len, len, &whole) == 0); /* no event is larger than the stream */
    require(read_events(bytes, len, step, &split) == 0);
    read_pieces(bytes, len, step, &pieces);
    require(whole.len == split.len && !memcmp(whole.data, split.data, whole.len));
    /* Pieces also tell the event that the end cuts off. */
    require(pieces.len >= whole.len && !memcmp(whole.data, pieces.data, whole.len));
    return 0;
}
