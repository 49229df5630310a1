/*
 * A byte buffer that grows to a maximum and no further. Whatever an outsider sizes goes through
 * one of these. The bytes are always followed by a NUL that `len` does not count.
 */
#ifndef CODEX_BASE_BUF_H
#define CODEX_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data; /* "" while nothing was ever appended, never NULL */
    size_t len;
    size_t cap;
    size_t max; /* bytes it may hold */
};

void buf_init(struct buf *buf, size_t max);
void buf_release(struct buf *buf); /* leaves it initialised and empty */
void buf_clear(struct buf *buf);   /* keeps the memory */

/* Append; -ERANGE when it would pass `max` (then nothing is appended). Memory exhaustion aborts. */
int buf_append(struct buf *buf, const void *bytes, size_t len);
int buf_append_str(struct buf *buf, const char *s);
int buf_append_char(struct buf *buf, char c);
int buf_appendf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Room for LEN more bytes at data + len, to read(2) into; NULL when that would pass `max`.
 * The caller adds what it wrote to `len` by buf_wrote(). */
char *buf_reserve(struct buf *buf, size_t len);
void buf_wrote(struct buf *buf, size_t len);

/* Drop LEN bytes from the front. */
void buf_consume(struct buf *buf, size_t len);

/* Hand the bytes over: the caller frees them with free(); the buffer is empty afterwards. */
char *buf_steal(struct buf *buf, size_t *len);

#endif
