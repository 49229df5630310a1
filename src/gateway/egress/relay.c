/* A connection whose host has been reached. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "gateway/egress/connection.h"
#include "gateway/egress/proxy.h"
#include "gateway/egress/tls_hello.h"

static const char established[] = "HTTP/1.1 200 Connection established\r\n\r\n";

static void append(struct buf *out, const void *bytes, size_t len)
{
    if (buf_append(out, bytes, len) < 0)
        abort(); /* nothing was in it */
}

static void begin_tunnel(struct connection *c)
{
    append(&c->down.out, established, sizeof established - 1);
    if (egress_policy_checks_tls(c->policy, c->target.port)) {
        c->state = CONNECTION_HELLO;
        relay_hello(c);
        return;
    }
    append(&c->up.out, c->in.data, c->in.len); /* what came with the request already */
    buf_release(&c->in);
    relay_step(c);
}

static void begin_request(struct connection *c)
{
    struct forward *forward = c->forward;
    c->up.shuts = false; /* some servers take a half-closed connection for one that was given up */
    c->up.filter = forward_request;
    c->down.filter = forward_response;
    c->up.arg = c->down.arg = forward;
    target_write_request(&c->target, &forward->head, &forward->request, &c->up.out);
    int status = c->in.len || forward->request.done
                     ? forward_request(forward, c->in.data, c->in.len, &c->up.out)
                     : 0;
    buf_release(&c->in);
    if (status < 0) {
        connection_answer(c, forward->status, EGRESS_ALLOWED, forward->err.message);
        return;
    }
    c->up.ended = status;
    relay_step(c);
}

void relay_begin(struct connection *c, int fd)
{
    size_t max = c->forward ? FORWARD_OUT_MAX : PROXY_PIECE_MAX;
    c->server.fd = fd;
    c->state = CONNECTION_RELAY;
    c->progress_ms = clock_mono_ms();
    flow_init(&c->up, c->client.fd, fd, max);
    flow_init(&c->down, fd, c->client.fd, max);
    if (c->forward)
        begin_request(c);
    else
        begin_tunnel(c);
}

/* ---- the greeting */

static void refuse_hello(struct connection *c)
{
    connection_deny(c, EGRESS_DENIED_TLS, NULL);
    send(c->client.fd, tls_alert_denied, sizeof tls_alert_denied, MSG_NOSIGNAL | MSG_DONTWAIT);
    connection_close(c, false);
}

/* The client speaks first, and is heard before a byte of it goes to the host. */
void relay_hello(struct connection *c)
{
    if (flow_writes(&c->down) && flow_move(&c->down) < 0) {
        connection_close(c, false);
        return;
    }
    char *room = buf_reserve(&c->in, TLS_HELLO_MAX);
    ssize_t n = room ? recv(c->client.fd, room, TLS_HELLO_MAX, MSG_DONTWAIT) : 0;
    if (n > 0)
        buf_wrote(&c->in, (size_t)n);
    switch (tls_hello_read(c->in.data, c->in.len, &c->target.host)) {
    case TLS_HELLO_UNFINISHED:
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            connection_close(c, false);
        return;
    case TLS_HELLO_SAME:
        append(&c->up.out, c->in.data, c->in.len);
        buf_release(&c->in);
        c->state = CONNECTION_RELAY;
        relay_step(c);
        return;
    default:
        refuse_hello(c);
    }
}

/* ---- to and fro */

/* The host's side is broken: an answer instead, where there is none yet. */
static void lose_host(struct connection *c)
{
    struct forward *forward = c->forward;
    if (!forward || forward->answered || c->down.out_sent) {
        connection_close(c, true);
        return;
    }
    struct err err;
    err_set(&err, ERR_PROTOCOL, "no answer from %s: %s", c->target.host.text,
            forward->status ? forward->err.message : "the connection broke");
    connection_answer(c, 502, EGRESS_ALLOWED, err.message);
}

static void lose_client(struct connection *c)
{
    struct forward *forward = c->forward;
    if (forward && forward->status == 400 && !forward->answered)
        connection_answer(c, 400, EGRESS_ALLOWED, forward->err.message);
    else
        connection_close(c, false);
}

static bool is_over(const struct connection *c)
{
    return c->down.finished && (c->up.finished || c->forward);
}

void relay_step(struct connection *c)
{
    int up = flow_move(&c->up);
    if (up == FLOW_BROKEN_WRITE) {
        /* It may have answered before it stopped listening. */
        buf_release(&c->up.out);
        c->up.out_sent = 0;
        c->up.ended = c->up.finished = true;
    } else if (up == FLOW_BROKEN_READ) {
        lose_client(c);
        return;
    }
    int down = flow_move(&c->down);
    if (down == FLOW_BROKEN_WRITE)
        connection_close(c, false);
    else if (down == FLOW_BROKEN_READ)
        lose_host(c);
    else if (is_over(c) && c->forward)
        c->state = CONNECTION_LINGER;
    else if (is_over(c))
        connection_close(c, false);
    if (up > 0 || down > 0)
        c->progress_ms = clock_mono_ms();
}
