#include "http/server_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"

enum {
    HEAD_READ_SIZE = 16384,
    BODY_READ_SIZE = 65536, /* each read costs some thirty microseconds on the way to a provider */
    ACCEPT_PAUSE_MS = 100,  /* when the descriptors have run out */
};

struct http_server {
    struct loop *loop;
    struct http_server_limits limits;
    struct http_server_handlers handlers;
    void *arg;
    int listener;
    struct loop_source *source, *pause;
    struct http_exchange *oldest, *newest;
    unsigned count;
};

static void exchange_free(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    *(exchange->previous ? &exchange->previous->next : &server->oldest) = exchange->next;
    *(exchange->next ? &exchange->next->previous : &server->newest) = exchange->previous;
    server->count--;
    buf_release(&exchange->in);
    buf_release(&exchange->out);
    free(exchange);
}

void exchange_close(struct http_exchange *exchange)
{
    if (exchange->state != CLOSED) {
        loop_remove(exchange->source);
        loop_remove(exchange->timer);
        close(exchange->fd);
        exchange->state = CLOSED;
    }
    if (!exchange->in_handler)
        exchange_free(exchange);
}

/* The client has left or is to be left: tell whoever owns the exchange. */
static void drop(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    void *user = exchange->user;
    bool tell = exchange->accepted && exchange->state == OPEN;
    exchange_close(exchange);
    if (tell)
        server->handlers.gone(user);
}

/* ---- what an exchange waits for */

/* Only then may `in` be filled again: the handler may still use the piece that it was given. */
static bool wants_body(const struct http_exchange *exchange)
{
    return exchange->state == OPEN && exchange->hungry;
}

static uint32_t wanted_events(const struct http_exchange *exchange)
{
    bool reads =
        exchange->state == READING_HEAD || exchange->state == LINGERING || wants_body(exchange);
    bool leaves = exchange->state == READING_HEAD || exchange->state == OPEN;
    return (reads ? EPOLLIN : 0) | (leaves ? EPOLLRDHUP : 0) |
           (http_exchange_writable(exchange) ? 0 : EPOLLOUT);
}

/* How long the client may take for what it is waited for, from progress_ms; 0: it is not. */
static int64_t patience_ms(const struct http_exchange *exchange)
{
    const struct http_server_limits *limits = &exchange->server->limits;
    switch (exchange->state) {
    case READING_HEAD:
        return limits->head_timeout_ms;
    case LINGERING:
        return limits->linger_timeout_ms;
    default:
        return !http_exchange_writable(exchange) ? limits->write_timeout_ms
               : wants_body(exchange)            ? limits->body_timeout_ms
                                                 : 0;
    }
}

/* Timers are not moved at each step: one that comes too early is set again for the rest. */
static void on_timer(void *arg)
{
    struct http_exchange *exchange = arg;
    exchange->timer = NULL;
    int64_t patience = patience_ms(exchange);
    if (patience && exchange->progress_ms + patience <= clock_mono_ms())
        drop(exchange);
    else
        exchange_update(exchange);
}

void exchange_update(struct http_exchange *exchange)
{
    if (exchange->state == CLOSED)
        return;
    uint32_t events = wanted_events(exchange);
    if (events & ~exchange->watched & (EPOLLIN | EPOLLOUT))
        exchange->progress_ms = clock_mono_ms();
    if (events != exchange->watched)
        loop_change_fd(exchange->source, events);
    exchange->watched = events;
    int64_t patience = patience_ms(exchange), due = exchange->progress_ms + patience;
    if (!patience || (exchange->timer && exchange->timer_due_ms <= due))
        return;
    loop_remove(exchange->timer);
    exchange->timer_due_ms = due;
    exchange->timer =
        loop_add_timer(exchange->server->loop, due - clock_mono_ms(), on_timer, exchange);
}

/* ---- the request's head */

static unsigned count_hosts(const struct http_head *head)
{
    unsigned count = 0;
    for (size_t i = 0; i < head->headers_count; i++)
        count += !strcasecmp(head->headers[i].name, "host");
    return count;
}

static int refusal(struct err *err, int status, const char *why)
{
    err_set(err, ERR_PROTOCOL, "%s", why);
    return status;
}

/* Returns 0, or the status to refuse it with. */
static int check_head(struct http_exchange *exchange, const struct http_head *head, struct err *err)
{
    exchange->is_head = !strcmp(head->method, "HEAD");
    const char *expect = http_head_get(head, "expect");
    exchange->expects_continue = expect && !strcasecmp(expect, "100-continue");
    if (head->minor_version == 0)
        return refusal(err, 505, "HTTP/1.1 is wanted");
    if (count_hosts(head) != 1)
        return refusal(err, 400, "malformed HTTP: not one Host header");
    if (http_body_init(&exchange->body, HTTP_REQUEST, head, err) < 0)
        return 400;
    if (expect && !exchange->expects_continue)
        return refusal(err, 417, "unknown expectation");
    bool chunked = exchange->body.framing == HTTP_BODY_CHUNKED;
    exchange->body_length = chunked ? -1 : (int64_t)exchange->body.left;
    return exchange->body.left > exchange->server->limits.body_bytes
               ? refusal(err, 413, "the body is too large")
               : 0;
}

static void take_head(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    struct http_head head;
    struct err err;
    int n = http_head_parse(&head, HTTP_REQUEST, exchange->in.data, exchange->in.len, &err);
    if (n == 0)
        return;
    int status = n < 0 ? 400 : check_head(exchange, &head, &err);
    exchange->in_used = n < 0 ? exchange->in.len : (size_t)n;
    exchange->state = OPEN;
    if (status)
        server->handlers.refused(server->arg, exchange, status, &err);
    else
        server->handlers.request(server->arg, exchange, &head);
    if (n > 0)
        http_head_release(&head);
    if (exchange->state == OPEN && exchange->accepted)
        server->handlers.body(exchange->user);
}

/* ---- reading */

/* One read to the end of `in`. Returns false when nothing came; the exchange may be gone then. */
static bool read_some(struct http_exchange *exchange, size_t size)
{
    char *room = buf_reserve(&exchange->in, size);
    if (!room) /* a head that is too long has been refused before that */
        abort();
    ssize_t n = recv(exchange->fd, room, size, MSG_DONTWAIT);
    if (n > 0) {
        buf_wrote(&exchange->in, (size_t)n);
        return true;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        drop(exchange);
    return false;
}

static void read_body(struct http_exchange *exchange)
{
    buf_clear(&exchange->in);
    exchange->in_used = 0;
    if (!read_some(exchange, BODY_READ_SIZE))
        return;
    exchange->hungry = false;
    exchange->progress_ms = clock_mono_ms();
    exchange->server->handlers.body(exchange->user);
}

/* Read what the client still sends, up to its end. */
static void read_rest(struct http_exchange *exchange)
{
    char rest[HEAD_READ_SIZE];
    ssize_t n = recv(exchange->fd, rest, sizeof rest, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        exchange_close(exchange);
}

void exchange_settle(struct http_exchange *exchange)
{
    if (exchange->state != FLUSHING || !http_exchange_writable(exchange))
        return;
    shutdown(exchange->fd, SHUT_WR);
    buf_release(&exchange->in);
    exchange->in_used = 0;
    exchange->state = LINGERING;
}

static void take_output_event(struct http_exchange *exchange)
{
    exchange_flush(exchange);
    if (exchange->state == OPEN && http_exchange_writable(exchange) && !exchange->broken)
        exchange->server->handlers.writable(exchange->user);
}

static void take_events(struct http_exchange *exchange, uint32_t events)
{
    if (exchange->state != LINGERING && (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))) {
        drop(exchange);
        return;
    }
    if (events & EPOLLOUT)
        take_output_event(exchange);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    if (exchange->state == READING_HEAD && read_some(exchange, HEAD_READ_SIZE))
        take_head(exchange);
    else if (wants_body(exchange))
        read_body(exchange);
    else if (exchange->state == LINGERING)
        read_rest(exchange);
}

static void on_event(void *arg, uint32_t events)
{
    struct http_exchange *exchange = arg;
    exchange->in_handler = true;
    take_events(exchange, events);
    exchange_settle(exchange);
    exchange->in_handler = false;
    if (exchange->state == CLOSED)
        exchange_free(exchange);
    else
        exchange_update(exchange);
}

/* ---- connections */

/* Make room for one more: the oldest that has no accepted request goes. */
static void evict(struct http_server *server)
{
    for (struct http_exchange *e = server->oldest; e; e = e->next)
        if (e->state == READING_HEAD || e->state == LINGERING) {
            exchange_close(e);
            return;
        }
}

static void add_exchange(struct http_server *server, int fd)
{
    if (server->count >= server->limits.connections)
        evict(server);
    struct http_exchange *exchange =
        server->count < server->limits.connections ? calloc(1, sizeof *exchange) : NULL;
    struct loop_source *source =
        exchange ? loop_add_fd(server->loop, fd, EPOLLIN | EPOLLRDHUP, on_event, exchange, NULL)
                 : NULL;
    if (!source) {
        close(fd);
        free(exchange);
        return;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *exchange = (struct http_exchange){.server = server,
                                       .previous = server->newest,
                                       .fd = fd,
                                       .source = source,
                                       .watched = EPOLLIN | EPOLLRDHUP,
                                       .progress_ms = clock_mono_ms()};
    *(server->newest ? &server->newest->next : &server->oldest) = exchange;
    server->newest = exchange;
    server->count++;
    buf_init(&exchange->in, HTTP_HEAD_MAX + BODY_READ_SIZE);
    buf_init(&exchange->out, 0);
    on_event(exchange, EPOLLIN); /* its request is often there already */
}

static void on_pause_over(void *arg)
{
    struct http_server *server = arg;
    server->pause = NULL;
    loop_change_fd(server->source, EPOLLIN);
}

static void on_connection(void *arg, uint32_t events)
{
    struct http_server *server = arg;
    int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        add_exchange(server, fd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        loop_change_fd(server->source, 0);
        server->pause = loop_add_timer(server->loop, ACCEPT_PAUSE_MS, on_pause_over, server);
    }
}

static void stop_listening(struct http_server *server)
{
    loop_remove(server->source);
    loop_remove(server->pause);
    server->source = server->pause = NULL;
    if (server->listener >= 0)
        close(server->listener);
    server->listener = -1;
}

struct http_server *http_server_new(struct loop *loop, const struct http_server_limits *limits,
                                    const struct http_server_handlers *handlers, void *arg)
{
    struct http_server *server = calloc(1, sizeof *server);
    if (!server)
        abort();
    *server = (struct http_server){
        .loop = loop, .limits = *limits, .handlers = *handlers, .arg = arg, .listener = -1};
    return server;
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    stop_listening(server);
    while (server->oldest)
        drop(server->oldest);
    free(server);
}

int http_server_listen(struct http_server *server, int fd, struct err *err)
{
    stop_listening(server);
    server->listener = fd;
    io_set_nonblocking(fd, true);
    server->source = loop_add_fd(server->loop, fd, EPOLLIN, on_connection, server, err);
    if (server->source)
        return 0;
    stop_listening(server);
    return err_context(err, "cannot listen");
}

void http_exchange_accept(struct http_exchange *exchange, void *user)
{
    exchange->accepted = true;
    exchange->user = user;
    if (exchange->expects_continue && !exchange->body.done && exchange->in_used == exchange->in.len)
        exchange_send_continue(exchange);
}

bool http_exchange_body_done(const struct http_exchange *exchange)
{
    return exchange->body.done;
}

int64_t http_exchange_body_length(const struct http_exchange *exchange)
{
    return exchange->body_length;
}

ssize_t http_exchange_body(struct http_exchange *exchange, const char **data, struct err *err)
{
    while (exchange->in_used < exchange->in.len && !exchange->body.done) {
        size_t used, len;
        int status = http_body_feed(&exchange->body, exchange->in.data + exchange->in_used,
                                    exchange->in.len - exchange->in_used, &used, data, &len, err);
        if (status < 0)
            return status;
        exchange->in_used += used;
        exchange->body_total += len;
        if (exchange->body_total > exchange->server->limits.body_bytes)
            return err_set(err, ERR_LIMIT, "the body is too large");
        if (len)
            return (ssize_t)len;
    }
    if (exchange->body.done) { /* the wait for an answer is long: it needs no memory */
        buf_release(&exchange->in);
        exchange->in_used = 0;
    }
    exchange->hungry = !exchange->body.done;
    exchange_update(exchange);
    return 0;
}
