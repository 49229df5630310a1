/* The head of a provider's answer, line by line as libcurl gives it: what of it goes to the
 * sandbox. */
#ifndef CODEX_GATEWAY_UPSTREAM_HEAD_H
#define CODEX_GATEWAY_UPSTREAM_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "http/message.h"

enum {
    UPSTREAM_HEAD_MAX = 256 << 10, /* bytes of a whole head */
    UPSTREAM_HEADERS_MAX = 32,     /* that are passed on */
    UPSTREAM_VALUE_MAX = 1024,
};

struct upstream_head {
    int status; /* 200 … 599, once the head is whole */
    struct http_header headers[UPSTREAM_HEADERS_MAX];
    size_t headers_count;

    /* private */
    char *owned[UPSTREAM_HEADERS_MAX]; /* "name\0value" */
    size_t seen_bytes;
    bool whole;
};

void upstream_head_init(struct upstream_head *head);
void upstream_head_release(struct upstream_head *head);

/* The next line, with its line end. Returns 1 when the head is whole (interim answers are passed
 * over; lines after it are trailers and ignored), 0 when more is to come, or ERR_PROTOCOL. */
int upstream_head_line(struct upstream_head *head, const char *line, size_t len, struct err *err);

#endif
