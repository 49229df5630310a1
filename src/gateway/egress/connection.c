#include "gateway/egress/connection.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "gateway/egress/explain.h"
#include "gateway/egress/proxy.h"
#include "gateway/egress/tls_hello.h"

enum { READ_SIZE = 16384, SENTENCE_MAX = 1024, ANSWER_MS = 10000 };

static void on_client(void *arg, uint32_t events);
static void on_server(void *arg, uint32_t events);
static void on_timer(void *arg);

/* ---- its life */

struct connection *connection_new(struct loop *loop, int fd, const struct egress_policy *policy,
                                  struct record *record)
{
    struct connection *c = calloc(1, sizeof *c);
    int on = 1;
    if (!c)
        abort();
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *c = (struct connection){.loop = loop,
                             .policy = policy,
                             .record = record,
                             .client = {.fd = fd},
                             .server = {.fd = -1},
                             .born_ms = clock_mono_ms()};
    c->progress_ms = c->born_ms;
    buf_init(&c->in, HTTP_HEAD_MAX + READ_SIZE);
    buf_init(&c->up.out, 0);
    buf_init(&c->down.out, 0);
    return c;
}

static void close_side(struct side *side)
{
    loop_remove(side->source);
    if (side->fd >= 0)
        close(side->fd);
    *side = (struct side){.fd = -1};
}

/* What went through it counts once the host was reached. */
static void note_use(struct connection *c)
{
    if (c->server.fd >= 0)
        record_used(c->record, &c->target.host, c->target.port, c->up.bytes, c->down.bytes);
}

void connection_close(struct connection *c, bool reset)
{
    const struct linger now = {.l_onoff = 1};
    if (c->state == CONNECTION_CLOSED)
        return;
    note_use(c);
    if (reset)
        setsockopt(c->client.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close_side(&c->client);
    close_side(&c->server);
    c->state = CONNECTION_CLOSED;
}

void connection_free(struct connection *c)
{
    connection_close(c, false);
    c->ended(c);
    loop_remove(c->timer);
    dial_free(c->dial);
    forward_free(c->forward);
    flow_release(&c->up);
    flow_release(&c->down);
    buf_release(&c->in);
    free(c);
}

bool connection_can_go(const struct connection *c)
{
    return c->state == CONNECTION_HEAD || c->state == CONNECTION_ANSWER ||
           c->state == CONNECTION_LINGER;
}

/* ---- what it waits for */

static uint32_t client_events(const struct connection *c)
{
    bool writes = flow_writes(&c->down);
    switch (c->state) {
    case CONNECTION_HEAD:
    case CONNECTION_LINGER:
        return EPOLLIN;
    case CONNECTION_HELLO:
        return EPOLLIN | (writes ? EPOLLOUT : 0);
    case CONNECTION_RELAY:
        return (flow_reads(&c->up) ? EPOLLIN : 0) | (writes ? EPOLLOUT : 0);
    case CONNECTION_ANSWER:
        return writes ? EPOLLOUT : 0;
    default:
        return 0;
    }
}

static uint32_t server_events(const struct connection *c)
{
    return c->state != CONNECTION_RELAY
               ? 0
               : (flow_reads(&c->down) ? EPOLLIN : 0) | (flow_writes(&c->up) ? EPOLLOUT : 0);
}

/* When it will have waited too long; INT64_MAX: somebody else sees to that. */
static int64_t due_ms(const struct connection *c)
{
    const struct egress_limits *limits = &c->policy->limits;
    int64_t idle_ms = c->progress_ms + limits->idle_ms, total_ms = c->born_ms + limits->total_ms;
    switch (c->state) {
    case CONNECTION_HEAD:
        return c->born_ms + limits->head_ms;
    case CONNECTION_HELLO:
        return c->progress_ms + limits->hello_ms;
    case CONNECTION_RELAY:
        return idle_ms < total_ms ? idle_ms : total_ms;
    case CONNECTION_ANSWER:
        return c->progress_ms + ANSWER_MS;
    case CONNECTION_LINGER:
        return c->progress_ms + PROXY_LINGER_MS;
    default:
        return INT64_MAX;
    }
}

static bool watch(struct connection *c, struct side *side, uint32_t events, loop_fd_fn *fn)
{
    if (events == side->watched)
        return true;
    side->watched = events;
    if (side->source && events)
        return loop_change_fd(side->source, events) == 0;
    loop_remove(side->source);
    side->source = events ? loop_add_fd(c->loop, side->fd, events, fn, c, NULL) : NULL;
    return side->source || !events;
}

/* The end of every callback: free it, or wait for what comes next. Timers are not moved at each
 * step: one that comes too early is set again for the rest. */
static void settle(struct connection *c)
{
    if (c->state != CONNECTION_CLOSED && (!watch(c, &c->client, client_events(c), on_client) ||
                                          !watch(c, &c->server, server_events(c), on_server)))
        connection_close(c, true);
    if (c->state == CONNECTION_CLOSED) {
        connection_free(c);
        return;
    }
    int64_t due = due_ms(c), now = clock_mono_ms();
    if (due == INT64_MAX || (c->timer && c->timer_due_ms <= due))
        return;
    loop_remove(c->timer);
    c->timer_due_ms = due;
    c->timer = loop_add_timer(c->loop, due > now ? due - now : 0, on_timer, c);
}

/* ---- answers of our own */

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {{400, "Bad Request"},     {403, "Forbidden"},
                   {408, "Request Timeout"}, {431, "Request Header Fields Too Large"},
                   {502, "Bad Gateway"},     {503, "Service Unavailable"},
                   {504, "Gateway Timeout"}};
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Error";
}

/* Many programs show nothing of the answer to a CONNECT but its first line: the reason is in it. */
void connection_answer(struct connection *c, int status, enum egress_verdict verdict,
                       const char *sentence)
{
    const char *denied = verdict == EGRESS_ALLOWED ? NULL : egress_verdict_name(verdict);
    flow_release(&c->up);
    flow_release(&c->down);
    flow_init(&c->down, -1, c->client.fd, READ_SIZE);
    buf_appendf(&c->down.out, "HTTP/1.1 %d %s%s%s\r\n", status, reason_of(status),
                denied ? " by Codex: " : "", denied ? denied : "");
    if (denied)
        buf_appendf(&c->down.out, "X-Codex-Denied: %s\r\n", denied);
    buf_appendf(&c->down.out,
                "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n"
                "Connection: close\r\n\r\ncodex: %s\n",
                strlen(sentence) + strlen("codex: \n"), sentence);
    c->down.ended = true;
    c->progress_ms = clock_mono_ms();
    c->state = CONNECTION_ANSWER;
}

void connection_deny(struct connection *c, enum egress_verdict verdict,
                     const struct net_address *address)
{
    AUTO_BUF struct buf sentence;
    buf_init(&sentence, SENTENCE_MAX);
    egress_explain(verdict, &c->target.host, c->target.port, address, &sentence);
    record_denied(c->record, &c->target.host, c->target.port, verdict, address, sentence.data);
    if (verdict != EGRESS_DENIED_TLS) /* whose tunnel is open already */
        connection_answer(c, 403, verdict, sentence.data);
}

void connection_refuse(struct connection *c)
{
    connection_answer(c, 503, EGRESS_ALLOWED, "too many connections at once: try again");
    settle(c);
}

/* ---- the request */

static void on_dialled(void *arg, const struct dial_end *end)
{
    struct connection *c = arg;
    if (end->fd >= 0)
        relay_begin(c, end->fd);
    else if (end->verdict != EGRESS_ALLOWED)
        connection_deny(c, end->verdict, &end->address);
    else
        connection_answer(c, end->timed_out ? 504 : 502, EGRESS_ALLOWED, end->message);
    dial_free(c->dial);
    c->dial = NULL;
    settle(c);
}

static void take_request(struct connection *c, struct http_head *head, size_t head_len)
{
    struct err err;
    int status = target_read(&c->target, head, &err);
    if (status) {
        connection_answer(c, status, EGRESS_ALLOWED, err.message);
        return;
    }
    enum egress_verdict verdict = egress_policy_host(c->policy, &c->target.host, c->target.port);
    if (verdict != EGRESS_ALLOWED) {
        connection_deny(c, verdict, c->target.host.is_address ? &c->target.host.address : NULL);
        return;
    }
    buf_consume(&c->in, head_len);
    if (!c->target.is_tunnel)
        c->forward = forward_new(head);
    c->state = CONNECTION_DIALING;
    c->dial = dial_start(c->loop, c->policy, &c->target.host, c->target.port, on_dialled, c);
}

/* One read; false when nothing came (and the connection may be closed). */
static bool read_some(struct connection *c)
{
    char *room = buf_reserve(&c->in, READ_SIZE);
    if (!room)
        abort(); /* a head that is too long has been refused before that */
    ssize_t n = recv(c->client.fd, room, READ_SIZE, MSG_DONTWAIT);
    if (n > 0)
        buf_wrote(&c->in, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        connection_close(c, false);
    return n > 0;
}

static void read_head(struct connection *c)
{
    struct http_head head;
    struct err err;
    if (!read_some(c))
        return;
    int n = http_head_parse(&head, HTTP_REQUEST, c->in.data, c->in.len, &err);
    if (n < 0)
        connection_answer(c, c->in.len >= HTTP_HEAD_MAX ? 431 : 400, EGRESS_ALLOWED, err.message);
    if (n <= 0)
        return;
    take_request(c, &head, (size_t)n);
    http_head_release(&head);
}

/* ---- its callbacks */

/* Read what the client still sends, up to its end. */
static void read_rest(struct connection *c)
{
    char rest[READ_SIZE];
    ssize_t n = recv(c->client.fd, rest, sizeof rest, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        connection_close(c, false);
}

static void give_answer(struct connection *c)
{
    if (flow_move(&c->down) < 0)
        connection_close(c, false);
    else if (c->down.finished)
        c->state = CONNECTION_LINGER;
}

static void step(struct connection *c)
{
    if (c->state == CONNECTION_HEAD)
        read_head(c);
    else if (c->state == CONNECTION_HELLO)
        relay_hello(c);
    else if (c->state == CONNECTION_RELAY)
        relay_step(c);
    else if (c->state == CONNECTION_LINGER)
        read_rest(c);
    if (c->state == CONNECTION_ANSWER)
        give_answer(c);
    settle(c);
}

static void on_client(void *arg, uint32_t events)
{
    step(arg);
}

static void on_server(void *arg, uint32_t events)
{
    step(arg);
}

static void on_timer(void *arg)
{
    struct connection *c = arg;
    c->timer = NULL;
    if (due_ms(c) > clock_mono_ms()) {
        settle(c);
        return;
    }
    if (c->state == CONNECTION_HELLO)
        connection_deny(c, EGRESS_DENIED_TLS, NULL);
    /* What a client has got by now is not all that there was. */
    connection_close(c, c->state == CONNECTION_RELAY);
    settle(c);
}

void connection_begin(struct connection *c)
{
    step(c); /* its request is often there already */
}
