#include "http/sse.h"

#include <string.h>

enum { SSE_NAME_MAX = 256 }; /* of an event's type and id; longer ones are cut to nothing */

void sse_init(struct sse *sse, size_t max)
{
    *sse = (struct sse){0};
    buf_init(&sse->line, max);
    buf_init(&sse->data, max);
    buf_init(&sse->type, SSE_NAME_MAX);
    buf_init(&sse->id, SSE_NAME_MAX);
}

void sse_release(struct sse *sse)
{
    buf_release(&sse->line);
    buf_release(&sse->data);
    buf_release(&sse->type);
    buf_release(&sse->id);
}

static int dispatch(struct sse *sse, sse_event_fn *fn, void *arg)
{
    int status = 0;
    if (sse->has_data) {
        struct sse_event event = {
            .type = sse->type.len ? sse->type.data : "message",
            .data = sse->data.data,
            .data_len = sse->data.len,
            .id = sse->id.data,
        };
        status = fn(arg, &event);
    }
    sse->has_data = false;
    buf_clear(&sse->type);
    buf_clear(&sse->data);
    return status;
}

static int add_data(struct sse *sse, const char *value, size_t len)
{
    if (sse->has_data && buf_append_char(&sse->data, '\n') < 0)
        return ERR_LIMIT;
    sse->has_data = true;
    return buf_append(&sse->data, value, len) < 0 ? ERR_LIMIT : 0;
}

/* One whole line that is not empty: "name: value", "name" or a comment. */
static int take_field(struct sse *sse, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    size_t name_len = colon ? (size_t)(colon - line) : len;
    const char *value = colon ? colon + 1 : line + len;
    size_t value_len = len - (size_t)(value - line);
    if (value_len && *value == ' ') {
        value++;
        value_len--;
    }
    if (name_len == 4 && !memcmp(line, "data", 4))
        return add_data(sse, value, value_len);
    struct buf *name = name_len == 5 && !memcmp(line, "event", 5) ? &sse->type
                       : name_len == 2 && !memcmp(line, "id", 2)  ? &sse->id
                                                                  : NULL;
    if (!name || memchr(value, '\0', value_len))
        return 0;
    buf_clear(name);
    buf_append(name, value, value_len);
    return 0;
}

static int end_line(struct sse *sse, sse_event_fn *fn, void *arg)
{
    const char *line = sse->line.data;
    size_t len = sse->line.len;
    if (!sse->started && len >= 3 && !memcmp(line, "\xef\xbb\xbf", 3)) {
        line += 3;
        len -= 3;
    }
    sse->started = true;
    int status = len ? take_field(sse, line, len) : dispatch(sse, fn, arg);
    buf_clear(&sse->line);
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

int sse_feed(struct sse *sse, const char *bytes, size_t len, sse_event_fn *fn, void *arg,
             struct err *err)
{
    int status = 0;
    while (len && status >= 0) {
        if (sse->after_cr && *bytes == '\n') {
            bytes++;
            len--;
        }
        sse->after_cr = false;
        size_t span = line_span(bytes, len);
        if (buf_append(&sse->line, bytes, span) < 0)
            status = ERR_LIMIT;
        bytes += span;
        len -= span;
        if (status < 0 || !len)
            break;
        sse->after_cr = *bytes == '\r';
        bytes++;
        len--;
        status = end_line(sse, fn, arg);
    }
    if (status == ERR_LIMIT)
        return err_set(err, ERR_LIMIT, "an event is larger than %zu bytes", sse->data.max);
    return status < 0 ? status : 0;
}
