#include "gateway/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json_text.h"
#include "base/str.h"

void output_init(struct output *output, struct loop *loop, struct event_file *events,
                 uint32_t phase)
{
    *output = (struct output){.loop = loop, .events = events, .phase = phase};
    buf_init(&output->pending, OUTPUT_TEXT_MAX);
}

/* One event of as much of BYTES as fits; returns how much that was. *COST: what it takes of the
 * file. */
static size_t write_event(struct event_file *events, uint32_t phase, const char *bytes, size_t len,
                          size_t *cost)
{
    AUTO_BUF struct buf text;
    buf_init(&text, OUTPUT_TEXT_MAX);
    size_t used = str_append_utf8(&text, bytes, len);
    struct buf *line = event_begin(events, "phase.output", phase);
    buf_append_str(line, ",\"text\":");
    json_text_string(line, text.data, text.len);
    event_end(events);
    *cost += text.len + OUTPUT_EVENT_COST;
    return used;
}

void output_note(struct event_file *events, uint32_t phase, const char *text, size_t len)
{
    size_t cost = 0;
    while (len) {
        size_t used = write_event(events, phase, text, len, &cost);
        text += used;
        len -= used;
    }
}

/* How much of BYTES the next event takes: whole lines, and all when there is no line end. A
 * character that is not whole yet stays, unless FINAL. */
static size_t event_span(const char *bytes, size_t len, bool final)
{
    size_t span = len < OUTPUT_TEXT_MAX ? len : OUTPUT_TEXT_MAX;
    if (final && span == len)
        return span;
    const char *end = memrchr(bytes, '\n', span);
    if (end)
        return (size_t)(end - bytes) + 1;
    size_t whole = span - str_utf8_unfinished(bytes, span);
    return whole ? whole : span;
}

static void add_to_tail(struct output *output, const char *bytes, size_t len)
{
    if (len > OUTPUT_TAIL_MAX) {
        output->tail_total += len - OUTPUT_TAIL_MAX;
        bytes += len - OUTPUT_TAIL_MAX;
        len = OUTPUT_TAIL_MAX;
    }
    size_t at = output->tail_total % OUTPUT_TAIL_MAX, first = OUTPUT_TAIL_MAX - at;
    first = first < len ? first : len;
    memcpy(output->tail + at, bytes, first);
    memcpy(output->tail, bytes + first, len - first);
    output->tail_total += len;
}

/* The head is full: from here on only the last bytes are kept. */
static void begin_tail(struct output *output)
{
    event_limit_hit(output->events, output->phase, "output", OUTPUT_HEAD_MAX);
    output->tail = malloc(OUTPUT_TAIL_MAX);
    if (!output->tail)
        abort();
    loop_remove(output->timer);
    output->timer = NULL;
    add_to_tail(output, output->pending.data, output->pending.len);
    buf_release(&output->pending);
}

/* Write LEN bytes from the front of what waits. */
static void write_pending(struct output *output, size_t len)
{
    size_t written = 0;
    while (written < len)
        written += write_event(output->events, output->phase, output->pending.data + written,
                               len - written, &output->spent);
    buf_consume(&output->pending, len);
    output->rounds = 0;
    if (output->spent >= OUTPUT_HEAD_MAX)
        begin_tail(output);
}

static void on_gathered(void *arg)
{
    struct output *output = arg;
    output->timer = NULL;
    const struct buf *pending = &output->pending;
    bool has_line = memrchr(pending->data, '\n', pending->len);
    if (has_line || ++output->rounds >= OUTPUT_PARTIAL_ROUNDS)
        write_pending(output, event_span(pending->data, pending->len, false));
    if (output->pending.len)
        output->timer = loop_add_timer(output->loop, OUTPUT_GATHER_MS, on_gathered, output);
    else if (!output->tail)
        buf_release(&output->pending);
}

void output_feed(struct output *output, const char *bytes, size_t len)
{
    while (len && !output->tail) {
        struct buf *pending = &output->pending;
        size_t room = OUTPUT_TEXT_MAX - pending->len, n = len < room ? len : room;
        buf_append(pending, bytes, n);
        bytes += n;
        len -= n;
        if (pending->len == OUTPUT_TEXT_MAX)
            write_pending(output, event_span(pending->data, pending->len, false));
    }
    if (len)
        add_to_tail(output, bytes, len);
    else if (output->pending.len && !output->timer)
        output->timer = loop_add_timer(output->loop, OUTPUT_GATHER_MS, on_gathered, output);
}

/* Where the tail begins to be readable: behind the line end or within the character that it was cut
 * in. */
static size_t tail_skip(const char *tail, size_t len)
{
    const char *end = memchr(tail, '\n', len < 4096 ? len : 4096);
    if (end && (size_t)(end - tail) + 1 < len)
        return (size_t)(end - tail) + 1;
    size_t skip = 0;
    while (skip < 3 && skip < len && ((unsigned char)tail[skip] & 0xc0) == 0x80)
        skip++;
    return skip;
}

static void write_left_out(struct output *output, uint64_t bytes)
{
    char text[64];
    int n = snprintf(text, sizeof text, "… %llu bytes left out …\n", (unsigned long long)bytes);
    output_note(output->events, output->phase, text, (size_t)n);
}

static void write_tail(struct output *output)
{
    size_t len = output->tail_total < OUTPUT_TAIL_MAX ? output->tail_total : OUTPUT_TAIL_MAX;
    size_t at = output->tail_total % OUTPUT_TAIL_MAX;
    AUTO_BUF struct buf tail;
    buf_init(&tail, OUTPUT_TAIL_MAX);
    if (len == OUTPUT_TAIL_MAX)
        buf_append(&tail, output->tail + at, OUTPUT_TAIL_MAX - at);
    buf_append(&tail, output->tail, at);
    uint64_t left_out = output->tail_total - len;
    size_t from = 0, cost = 0;
    if (left_out) {
        from = tail_skip(tail.data, tail.len);
        write_left_out(output, left_out + from);
    }
    while (from < tail.len) {
        size_t span = event_span(tail.data + from, tail.len - from, true);
        from += write_event(output->events, output->phase, tail.data + from, span, &cost);
    }
}

void output_end(struct output *output)
{
    loop_remove(output->timer);
    output->timer = NULL;
    while (output->pending.len)
        write_pending(output, event_span(output->pending.data, output->pending.len, true));
    if (output->tail)
        write_tail(output);
    free(output->tail);
    output->tail = NULL;
    buf_release(&output->pending);
}
