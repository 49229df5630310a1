#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What `data` points at before the first append, so that it is a C string at all times. */
static char empty[1];

void buf_init(struct buf *buf, size_t max)
{
    *buf = (struct buf){.data = empty, .max = max};
}

void buf_release(struct buf *buf)
{
    if (buf->data != empty)
        free(buf->data);
    buf_init(buf, buf->max);
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    if (buf->data != empty)
        buf->data[0] = '\0';
}

char *buf_reserve(struct buf *buf, size_t len)
{
    if (len > buf->max - buf->len)
        return NULL;
    size_t need = buf->len + len + 1;
    if (need > buf->cap) {
        size_t cap = buf->cap ? buf->cap : 256;
        while (cap < need)
            cap *= 2;
        char *grown = realloc(buf->data == empty ? NULL : buf->data, cap);
        if (!grown)
            abort();
        buf->data = grown;
        buf->data[buf->len] = '\0'; /* also when nothing is written into the room after all */
        buf->cap = cap;
    }
    return buf->data + buf->len;
}

void buf_wrote(struct buf *buf, size_t len)
{
    buf->len += len;
    buf->data[buf->len] = '\0';
}

int buf_append(struct buf *buf, const void *bytes, size_t len)
{
    char *room = buf_reserve(buf, len);
    if (!room)
        return -ERANGE;
    if (len)
        memcpy(room, bytes, len);
    buf_wrote(buf, len);
    return 0;
}

int buf_append_str(struct buf *buf, const char *s)
{
    return buf_append(buf, s, strlen(s));
}

int buf_append_char(struct buf *buf, char c)
{
    return buf_append(buf, &c, 1);
}

int buf_appendf(struct buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    int status = -ERANGE;
    char *room = n < 0 ? NULL : buf_reserve(buf, (size_t)n);
    if (room) {
        vsnprintf(room, (size_t)n + 1, format, again);
        buf->len += (size_t)n;
        status = 0;
    }
    va_end(again);
    return status;
}

void buf_consume(struct buf *buf, size_t len)
{
    if (!len)
        return;
    memmove(buf->data, buf->data + len, buf->len - len);
    buf->len -= len;
    buf->data[buf->len] = '\0';
}

char *buf_steal(struct buf *buf, size_t *len)
{
    if (len)
        *len = buf->len;
    char *data = buf->data == empty ? strdup("") : buf->data;
    if (!data)
        abort();
    buf_init(buf, buf->max);
    return data;
}
