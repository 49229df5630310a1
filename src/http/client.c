#include "http/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"

enum { READ_SIZE = 65536, CONNECT_UNIX_SECONDS = 10 };

enum call_state {
    CALL_CONNECTING,
    CALL_EXCHANGING, /* sending the request, and reading: an answer may come before its end */
    CALL_ENDED,      /* freed in the next round of the loop */
};

struct http_call {
    struct loop *loop;
    struct http_call_handlers handlers;
    void *arg;
    int fd;
    enum call_state state;
    struct loop_source *source, *timer;
    int64_t idle_timeout_ms;
    struct buf out;       /* the head */
    struct iovec *pieces; /* the head and the body: what is still to be sent */
    size_t pieces_count, pieces_sent;
    struct buf in; /* of the answer's head, until it is whole */
    bool has_head;
    bool cancelled;
    bool in_handler;
    struct http_body body;
    char host[sizeof((struct http_peer *)NULL)->host];
    struct err err;
};

static void call_free(struct http_call *call)
{
    loop_remove(call->source);
    loop_remove(call->timer);
    if (call->fd >= 0)
        close(call->fd);
    buf_release(&call->out);
    buf_release(&call->in);
    free(call->pieces);
    free(call);
}

void http_call_cancel(struct http_call *call)
{
    if (!call)
        return;
    call->cancelled = true;
    if (!call->in_handler)
        call_free(call);
}

static void call_end(struct http_call *call, int status)
{
    call->state = CALL_ENDED;
    call->handlers.end(call->arg, status, &call->err);
    call_free(call);
}

static void on_timeout(void *arg)
{
    struct http_call *call = arg;
    call->timer = NULL;
    call_end(call, err_set(&call->err, -ETIMEDOUT,
                           call->has_head ? "no more came from the server in time"
                                          : "the server did not answer in time"));
}

static void set_timer(struct http_call *call, int64_t timeout_ms)
{
    loop_remove(call->timer);
    call->timer = timeout_ms > 0 ? loop_add_timer(call->loop, timeout_ms, on_timeout, call) : NULL;
}

/* Send what the socket takes. Returns 0, or negative. */
static int send_some(struct http_call *call)
{
    while (call->pieces_sent < call->pieces_count) {
        struct iovec *piece = &call->pieces[call->pieces_sent];
        size_t count = call->pieces_count - call->pieces_sent;
        struct msghdr message = {.msg_iov = piece, .msg_iovlen = count < 64 ? count : 64};
        ssize_t n = sendmsg(call->fd, &message, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : err_errno(&call->err, "cannot send the request");
        while (call->pieces_sent < call->pieces_count &&
               (size_t)n >= call->pieces[call->pieces_sent].iov_len)
            n -= (ssize_t)call->pieces[call->pieces_sent++].iov_len;
        if (n) {
            piece = &call->pieces[call->pieces_sent];
            piece->iov_base = (char *)piece->iov_base + n;
            piece->iov_len -= (size_t)n;
        }
    }
    return 0;
}

/* Hand over the content in LEN bytes of the body's stream. Returns 0, 1 at its end, or negative. */
static int take_body(struct http_call *call, const char *bytes, size_t len)
{
    while (len && !call->body.done) {
        size_t used, data_len;
        const char *data;
        int status = http_body_feed(&call->body, bytes, len, &used, &data, &data_len, &call->err);
        if (status < 0)
            return status;
        if (data_len)
            call->handlers.data(call->arg, data, data_len);
        if (call->cancelled)
            return 0;
        bytes += used;
        len -= used;
    }
    return call->body.done;
}

/* A head may be complete in `in`. Returns 0 when more is needed, 1 at the end of the answer. */
static int take_head(struct http_call *call)
{
    while (!call->has_head) {
        struct http_head head;
        int n = http_head_parse(&head, HTTP_RESPONSE, call->in.data, call->in.len, &call->err);
        if (n <= 0)
            return n;
        int status = http_body_init(&call->body, HTTP_RESPONSE, &head, &call->err);
        buf_consume(&call->in, (size_t)n);
        if (status == 0 && head.status >= 200) {
            call->has_head = true;
            if (call->handlers.head)
                call->handlers.head(call->arg, &head);
        }
        http_head_release(&head);
        if (status < 0 || call->cancelled)
            return status;
    }
    int status = take_body(call, call->in.data, call->in.len);
    buf_release(&call->in);
    return status < 0 ? status : call->body.done;
}

static int take_bytes(struct http_call *call, const char *bytes, size_t len)
{
    if (call->has_head)
        return take_body(call, bytes, len);
    if (buf_append(&call->in, bytes, len) < 0)
        return err_set(&call->err, ERR_PROTOCOL, "malformed HTTP: head too large");
    return take_head(call);
}

static int take_eof(struct http_call *call)
{
    if (!call->has_head)
        return err_set(&call->err, ERR_PROTOCOL,
                       "the server closed the connection without an answer");
    int status = http_body_eof(&call->body, &call->err);
    return status < 0 ? status : 1;
}

static int read_some(struct http_call *call)
{
    char chunk[READ_SIZE];
    ssize_t n = recv(call->fd, chunk, sizeof chunk, 0);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0
                                                 : err_errno(&call->err, "cannot read the answer");
    if (n == 0)
        return take_eof(call);
    int status = take_bytes(call, chunk, (size_t)n);
    if (status == 0 && call->has_head && !call->cancelled)
        set_timer(call, call->idle_timeout_ms);
    return status;
}

static int finish_connecting(struct http_call *call)
{
    int error = 0;
    socklen_t len = sizeof error;
    getsockopt(call->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error) {
        errno = error;
        return err_errno(&call->err, "cannot connect to %s", call->host);
    }
    call->state = CALL_EXCHANGING;
    return 0;
}

static void on_socket(void *arg, uint32_t events)
{
    struct http_call *call = arg;
    call->in_handler = true;
    int status = call->state == CALL_CONNECTING ? finish_connecting(call) : 0;
    /* A server that answers early (413) and closes makes the sending fail: its answer counts. */
    int sent = status == 0 && call->pieces_sent < call->pieces_count ? send_some(call) : 0;
    if (status == 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        status = read_some(call);
    if (status == 0 && sent < 0 && !(events & EPOLLIN))
        status = sent;
    call->in_handler = false;
    if (call->cancelled)
        call_free(call);
    else if (status)
        call_end(call, status > 0 ? 0 : status);
    else if (sent < 0 || call->pieces_sent == call->pieces_count)
        loop_change_fd(call->source, EPOLLIN);
}

static void on_failed_start(void *arg)
{
    struct http_call *call = arg;
    call->timer = NULL;
    call_end(call, call->err.code);
}

/* A Unix socket whose backlog is full gives a non-blocking connect() EAGAIN and nothing to wait
 * for: so that one connects blocking, with a deadline. */
static int connect_unix(struct http_call *call, const struct http_peer *peer)
{
    struct timeval deadline = {.tv_sec = CONNECT_UNIX_SECONDS};
    setsockopt(call->fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline);
    if (connect(call->fd, (const struct sockaddr *)&peer->address, peer->address_len) < 0)
        return -1;
    return io_set_nonblocking(call->fd, true);
}

static int begin_connecting(struct http_call *call, const struct http_peer *peer)
{
    bool local = peer->address.ss_family == AF_UNIX;
    int flags = SOCK_STREAM | SOCK_CLOEXEC | (local ? 0 : SOCK_NONBLOCK);
    call->fd = socket(peer->address.ss_family, flags, 0);
    if (call->fd < 0)
        return err_errno(&call->err, "cannot create a socket");
    int status =
        local ? connect_unix(call, peer)
              : connect(call->fd, (const struct sockaddr *)&peer->address, peer->address_len);
    if (status < 0 && errno != EINPROGRESS)
        return err_errno(&call->err, "cannot connect to %s", call->host);
    call->source =
        loop_add_fd(call->loop, call->fd, EPOLLIN | EPOLLOUT, on_socket, call, &call->err);
    return call->source ? 0 : call->err.code;
}

/* The head into `out`, and the list of what is to be sent. */
static void write_request(struct http_call *call, const struct http_peer *peer,
                          const struct http_request *request)
{
    size_t body_len = 0;
    for (size_t i = 0; i < request->body_count; i++)
        body_len += request->body[i].iov_len;
    buf_appendf(&call->out, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", request->method,
                request->target, peer->host);
    for (size_t i = 0; i < request->headers_count; i++)
        buf_appendf(&call->out, "%s: %s\r\n", request->headers[i].name, request->headers[i].value);
    if (body_len || !strcasecmp(request->method, "POST"))
        buf_appendf(&call->out, "Content-Length: %zu\r\n", body_len);
    buf_append_str(&call->out, "\r\n");

    call->pieces = calloc(request->body_count + 1, sizeof *call->pieces);
    if (!call->pieces)
        abort();
    call->pieces[call->pieces_count++] = (struct iovec){call->out.data, call->out.len};
    for (size_t i = 0; i < request->body_count; i++)
        if (request->body[i].iov_len)
            call->pieces[call->pieces_count++] = request->body[i];
}

struct http_call *http_call_start(struct loop *loop, const struct http_peer *peer,
                                  const struct http_request *request,
                                  const struct http_call_handlers *handlers, void *arg)
{
    struct http_call *call = calloc(1, sizeof *call);
    if (!call)
        abort();
    *call = (struct http_call){.loop = loop,
                               .handlers = *handlers,
                               .arg = arg,
                               .fd = -1,
                               .idle_timeout_ms = request->idle_timeout_ms};
    memcpy(call->host, peer->host, sizeof call->host);
    buf_init(&call->out, HTTP_HEAD_MAX);
    buf_init(&call->in, HTTP_HEAD_MAX + READ_SIZE);
    write_request(call, peer, request);
    if (begin_connecting(call, peer) < 0)
        call->timer = loop_add_timer(loop, 0, on_failed_start, call);
    else
        set_timer(call, request->first_byte_timeout_ms);
    return call;
}
