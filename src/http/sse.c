#include "http/sse.h"

#include <string.h>

enum { SSE_NAME_MAX = 256 }; /* of an event's type and id; a longer one is ignored */

enum line_state { IN_NAME, BEHIND_COLON, IN_VALUE };
enum line_field { FIELD_OTHER, FIELD_DATA, FIELD_EVENT, FIELD_ID };

/* Where the data goes: one of the two is set. */
struct sink {
    sse_event_fn *event;
    sse_piece_fn *piece;
    void *arg;
};

void sse_init(struct sse *sse, size_t max)
{
    *sse = (struct sse){0};
    buf_init(&sse->data, max);
    buf_init(&sse->type, SSE_NAME_MAX);
    buf_init(&sse->id, SSE_NAME_MAX);
    buf_init(&sse->value, SSE_NAME_MAX);
}

void sse_release(struct sse *sse)
{
    buf_release(&sse->data);
    buf_release(&sse->type);
    buf_release(&sse->id);
    buf_release(&sse->value);
}

static int dispatch(struct sse *sse, const struct sink *sink)
{
    int status = 0;
    if (sse->has_data && sink->piece)
        status = sink->piece(sink->arg, NULL, 0);
    else if (sse->has_data) {
        struct sse_event event = {
            .type = sse->type.len ? sse->type.data : "message",
            .data = sse->data.data,
            .data_len = sse->data.len,
            .id = sse->id.data,
        };
        status = sink->event(sink->arg, &event);
    }
    sse->has_data = false;
    buf_clear(&sse->type);
    buf_clear(&sse->data);
    return status;
}

static int add_data(struct sse *sse, const char *bytes, size_t len, const struct sink *sink)
{
    if (sink->piece)
        return len ? sink->piece(sink->arg, bytes, len) : 0;
    return buf_append(&sse->data, bytes, len) < 0 ? ERR_LIMIT : 0;
}

/* The line's name is whole. */
static int begin_value(struct sse *sse, const struct sink *sink)
{
    static const char *const names[] = {
        [FIELD_DATA] = "data", [FIELD_EVENT] = "event", [FIELD_ID] = "id"};
    sse->field = FIELD_OTHER;
    for (int i = FIELD_DATA; i <= FIELD_ID; i++)
        if (sse->name_len == strlen(names[i]) && !memcmp(sse->name, names[i], sse->name_len))
            sse->field = i;
    sse->unusable = false;
    buf_clear(&sse->value);
    if (sse->field != FIELD_DATA)
        return 0;
    bool joins = sse->has_data;
    sse->has_data = true;
    return joins ? add_data(sse, "\n", 1, sink) : 0;
}

static int add_value(struct sse *sse, const char *bytes, size_t len, const struct sink *sink)
{
    if (sse->field == FIELD_DATA)
        return add_data(sse, bytes, len, sink);
    if (sse->field == FIELD_OTHER)
        return 0;
    if (memchr(bytes, '\0', len) || buf_append(&sse->value, bytes, len) < 0)
        sse->unusable = true;
    return 0;
}

static void name_byte(struct sse *sse, char c)
{
    static const char byte_order_mark[] = {'\xef', '\xbb', '\xbf'};
    if (sse->name_len < SSE_NAME_SIZE)
        sse->name[sse->name_len++] = c;
    if (!sse->started && sse->name_len == 3 && !memcmp(sse->name, byte_order_mark, 3)) {
        sse->name_len = 0;
        sse->started = true;
    }
}

static int end_line(struct sse *sse, const struct sink *sink)
{
    bool blank = sse->state == IN_NAME && sse->name_len == 0;
    int status = blank ? dispatch(sse, sink) : sse->state == IN_NAME ? begin_value(sse, sink) : 0;
    if (!blank && !sse->unusable && (sse->field == FIELD_EVENT || sse->field == FIELD_ID)) {
        struct buf *target = sse->field == FIELD_ID ? &sse->id : &sse->type;
        buf_clear(target);
        buf_append(target, sse->value.data, sse->value.len);
    }
    sse->state = IN_NAME;
    sse->name_len = 0;
    sse->started = true;
    return status;
}

/* Bytes of the line that P starts, without its end. */
static size_t line_span(const char *p, size_t len)
{
    size_t n = 0;
    while (n < len && p[n] != '\n' && p[n] != '\r')
        n++;
    return n;
}

/* LEN bytes of one line, without its end. */
static int take_part(struct sse *sse, const char *bytes, size_t len, const struct sink *sink)
{
    int status = 0;
    for (; len && sse->state != IN_VALUE && status >= 0; bytes++, len--) {
        if (sse->state == IN_NAME && *bytes == ':') {
            status = begin_value(sse, sink);
            sse->state = BEHIND_COLON;
        } else if (sse->state == IN_NAME) {
            name_byte(sse, *bytes);
        } else {
            sse->state = IN_VALUE;
            if (*bytes != ' ')
                break;
        }
    }
    return status >= 0 && len ? add_value(sse, bytes, len, sink) : status;
}

static int feed(struct sse *sse, const char *bytes, size_t len, const struct sink *sink)
{
    int status = 0;
    while (len && status >= 0) {
        if (sse->after_cr && *bytes == '\n') {
            bytes++;
            len--;
        }
        sse->after_cr = false;
        size_t span = line_span(bytes, len);
        status = take_part(sse, bytes, span, sink);
        bytes += span;
        len -= span;
        if (status < 0 || !len)
            break;
        sse->after_cr = *bytes == '\r';
        bytes++;
        len--;
        status = end_line(sse, sink);
    }
    return status < 0 ? status : 0;
}

int sse_feed(struct sse *sse, const char *bytes, size_t len, sse_event_fn *fn, void *arg,
             struct err *err)
{
    struct sink sink = {.event = fn, .arg = arg};
    int status = feed(sse, bytes, len, &sink);
    if (status == ERR_LIMIT)
        return err_set(err, ERR_LIMIT, "an event is larger than %zu bytes", sse->data.max);
    return status;
}

int sse_feed_pieces(struct sse *sse, const char *bytes, size_t len, sse_piece_fn *fn, void *arg)
{
    struct sink sink = {.piece = fn, .arg = arg};
    return feed(sse, bytes, len, &sink);
}
