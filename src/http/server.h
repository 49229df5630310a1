/*
 * An HTTP/1.1 server on the event loop, for clients that may be hostile. One request a connection
 * (`Connection: close`), read strictly, streamed in both directions: the body is read only as fast
 * as it is taken, the answer is taken only as fast as the client reads, and a connection holds a
 * fixed amount of memory.
 *
 * A client that closes its side of the connection before it has its answer counts as gone.
 * Connections whose request was not accepted cannot keep others out: beyond the limit the oldest of
 * them is closed.
 */
#ifndef CODEX_HTTP_SERVER_H
#define CODEX_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "http/message.h"
#include "loop/loop.h"

struct http_server;
struct http_exchange; /* one connection: its request and its answer */

struct http_server_limits {
    unsigned connections;
    uint64_t body_bytes;
    int64_t head_timeout_ms;   /* from the connection to the end of the request's head */
    int64_t body_timeout_ms;   /* between two reads of its body, while there is room for it */
    int64_t write_timeout_ms;  /* between two writes of the answer, while one is pending */
    int64_t linger_timeout_ms; /* for what the client still sends when it has its answer */
};

enum { HTTP_WRITE_MAX = 65536 }; /* bytes of one http_exchange_write() */

struct http_server_handlers {
    /* A request's head has come. Call http_exchange_accept() or http_exchange_reply(). */
    void (*request)(void *arg, struct http_exchange *exchange, const struct http_head *head);
    /* What came is no request. Answer STATUS (400, 413, 417, 505) by http_exchange_reply(). */
    void (*refused)(void *arg, struct http_exchange *exchange, int status, const struct err *err);
    /* There may be more of the body for http_exchange_body(), or its end. (USER: as accepted.) */
    void (*body)(void *user);
    /* All that was written has gone out: there is room for more. */
    void (*writable)(void *user);
    /* The client has left, or was too slow. The exchange no longer exists. */
    void (*gone)(void *user);
};

struct http_server *http_server_new(struct loop *loop, const struct http_server_limits *limits,
                                    const struct http_server_handlers *handlers, void *arg);
/* Closes every connection; `gone` is called for those that were accepted. NULL is fine. */
void http_server_free(struct http_server *server);

/* Accept connections from FD, a listening socket (owned from here on, also on failure), instead of
 * from the one before. */
int http_server_listen(struct http_server *server, int fd, struct err *err);

/* Take the request on: USER goes to the handlers from now on. */
void http_exchange_accept(struct http_exchange *exchange, void *user);

/*
 * The next piece of the body's content: its length with *DATA set (good until the next call), 0
 * when there is none now, or ERR_PROTOCOL, ERR_LIMIT. With 0, http_exchange_body_done() tells the
 * end from a pause; after a pause `body` is called.
 */
ssize_t http_exchange_body(struct http_exchange *exchange, const char **data, struct err *err);
bool http_exchange_body_done(const struct http_exchange *exchange);

/* The body's length in bytes, or -1 when it comes in chunks. */
int64_t http_exchange_body_length(const struct http_exchange *exchange);

/* Begin an answer whose body follows by http_exchange_write(). Connection and framing are added. */
void http_exchange_begin(struct http_exchange *exchange, int status,
                         const struct http_header *headers, size_t count);

/* Send LEN bytes (at most HTTP_WRITE_MAX; never 0). Only while http_exchange_writable(), or once
 * more right before http_exchange_finish(). Trouble is told later, by `gone`. */
void http_exchange_write(struct http_exchange *exchange, const char *bytes, size_t len);
bool http_exchange_writable(const struct http_exchange *exchange);

/* The answer is whole. No handler is called for the exchange any more; it ends by itself. */
void http_exchange_finish(struct http_exchange *exchange);

/* A whole answer in one call: begin, write and finish, with a Content-Length. LEN: as for write, or
 * 0. */
void http_exchange_reply(struct http_exchange *exchange, int status,
                         const struct http_header *headers, size_t count, const char *body,
                         size_t len);

/* Close the connection now: the client sees that its answer was cut. As finish otherwise. */
void http_exchange_abort(struct http_exchange *exchange);

#endif
