#include "http/server_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/clock.h"

/* A head, and two pieces with their framing: one that the socket did not take, and the last. */
enum { OUT_MAX = HTTP_HEAD_MAX + 2 * HTTP_WRITE_MAX + 128 };

static size_t out_left(const struct http_exchange *exchange)
{
    return exchange->out.len - exchange->out_sent;
}

bool http_exchange_writable(const struct http_exchange *exchange)
{
    return out_left(exchange) == 0;
}

/* A failed write is not told here: the socket reports it to on_event() as well, outside of whatever
 * is writing. */
static size_t send_now(struct http_exchange *exchange, const struct iovec *pieces, size_t count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = count};
    ssize_t n;
    do
        n = sendmsg(exchange->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN)
        exchange->broken = true;
    if (n <= 0)
        return 0;
    exchange->progress_ms = clock_mono_ms();
    return (size_t)n;
}

/* Send the pieces behind what waits already; what the socket does not take waits too. */
static void send_pieces(struct http_exchange *exchange, const struct iovec *pieces, size_t count)
{
    size_t sent = out_left(exchange) || exchange->broken ? 0 : send_now(exchange, pieces, count);
    if (exchange->broken)
        return;
    if (!out_left(exchange))
        exchange->progress_ms = clock_mono_ms();
    exchange->out.max = OUT_MAX;
    for (size_t i = 0; i < count; i++) {
        size_t skip = sent < pieces[i].iov_len ? sent : pieces[i].iov_len;
        sent -= skip;
        if (buf_append(&exchange->out, (char *)pieces[i].iov_base + skip,
                       pieces[i].iov_len - skip) < 0)
            abort(); /* the caller wrote without waiting for its turn */
    }
    exchange_update(exchange);
}

void exchange_flush(struct http_exchange *exchange)
{
    struct iovec piece = {exchange->out.data + exchange->out_sent, out_left(exchange)};
    exchange->out_sent += send_now(exchange, &piece, 1);
    if (!out_left(exchange)) {
        buf_release(&exchange->out);
        exchange->out_sent = 0;
    }
}

static void begin(struct http_exchange *exchange, int status, const struct http_header *headers,
                  size_t count, const char *framing)
{
    struct buf head;
    buf_init(&head, HTTP_HEAD_MAX);
    buf_appendf(&head, "HTTP/1.1 %d \r\nConnection: close\r\n%s", status, framing);
    for (size_t i = 0; i < count; i++)
        buf_appendf(&head, "%s: %s\r\n", headers[i].name, headers[i].value);
    buf_append_str(&head, "\r\n");
    struct iovec piece = {head.data, head.len};
    send_pieces(exchange, &piece, 1);
    buf_release(&head);
}

void exchange_send_continue(struct http_exchange *exchange)
{
    struct iovec piece = {"HTTP/1.1 100 Continue\r\n\r\n", 25};
    send_pieces(exchange, &piece, 1);
}

void http_exchange_begin(struct http_exchange *exchange, int status,
                         const struct http_header *headers, size_t count)
{
    exchange->no_body = exchange->is_head || status == 204 || status == 304;
    begin(exchange, status, headers, count,
          exchange->no_body ? "" : "Transfer-Encoding: chunked\r\n");
}

void http_exchange_write(struct http_exchange *exchange, const char *bytes, size_t len)
{
    if (exchange->no_body)
        return;
    struct buf size;
    buf_init(&size, 32);
    buf_appendf(&size, "%zx\r\n", len);
    struct iovec pieces[] = {{size.data, size.len}, {(char *)bytes, len}, {"\r\n", 2}};
    send_pieces(exchange, pieces, 3);
    buf_release(&size);
}

/* The answer is in `out` or sent: the rest happens without the handlers. */
static void answered(struct http_exchange *exchange)
{
    exchange->state = FLUSHING;
    exchange->user = NULL;
    exchange_settle(exchange);
    exchange_update(exchange);
}

void http_exchange_finish(struct http_exchange *exchange)
{
    struct iovec piece = {"0\r\n\r\n", 5};
    if (!exchange->no_body)
        send_pieces(exchange, &piece, 1);
    answered(exchange);
}

void http_exchange_reply(struct http_exchange *exchange, int status,
                         const struct http_header *headers, size_t count, const char *body,
                         size_t len)
{
    struct buf framing;
    buf_init(&framing, 64);
    buf_appendf(&framing, "Content-Length: %zu\r\n", len);
    begin(exchange, status, headers, count, framing.data);
    buf_release(&framing);
    struct iovec piece = {(char *)body, exchange->is_head ? 0 : len};
    send_pieces(exchange, &piece, 1);
    answered(exchange);
}

void http_exchange_abort(struct http_exchange *exchange)
{
    exchange->accepted = false;
    exchange_close(exchange);
}
