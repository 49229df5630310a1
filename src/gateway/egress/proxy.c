#include "gateway/egress/proxy.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "gateway/egress/connection.h"

enum { ACCEPT_PAUSE_MS = 100 /* when the descriptors have run out */ };

struct listener {
    struct proxy *proxy;
    int fd; /* -1: none */
    struct loop_source *source, *pause;
};

struct proxy {
    struct loop *loop;
    const struct egress_policy *policy;
    struct record *record;
    bool held;
    struct listener listeners[PROXY_LISTENERS_MAX];
    struct connection *oldest, *newest;
    unsigned count;
};

static void on_ended(struct connection *c)
{
    struct proxy *proxy = c->proxy;
    *(c->previous ? &c->previous->next : &proxy->oldest) = c->next;
    *(c->next ? &c->next->previous : &proxy->newest) = c->previous;
    proxy->count--;
}

/* Make room for one more. */
static void evict(struct proxy *proxy)
{
    for (struct connection *c = proxy->oldest; c; c = c->next)
        if (connection_can_go(c)) {
            connection_free(c);
            return;
        }
}

static void add_connection(struct proxy *proxy, int fd)
{
    if (proxy->count >= PROXY_CONNECTIONS_MAX)
        evict(proxy);
    struct connection *c = connection_new(proxy->loop, fd, proxy->policy, proxy->record);
    c->proxy = proxy;
    c->ended = on_ended;
    c->previous = proxy->newest;
    *(proxy->newest ? &proxy->newest->next : &proxy->oldest) = c;
    proxy->newest = c;
    proxy->count++;
    if (proxy->count > PROXY_CONNECTIONS_MAX) { /* it can go at once when the next comes */
        connection_refuse(c);
        record_connections_full(proxy->record, PROXY_CONNECTIONS_MAX);
    } else {
        connection_begin(c);
    }
}

static void on_pause_over(void *arg)
{
    struct listener *listener = arg;
    listener->pause = NULL;
    loop_change_fd(listener->source, EPOLLIN);
}

static void on_connection(void *arg, uint32_t events)
{
    struct listener *listener = arg;
    struct proxy *proxy = listener->proxy;
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        add_connection(proxy, fd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        loop_change_fd(listener->source, 0);
        listener->pause = loop_add_timer(proxy->loop, ACCEPT_PAUSE_MS, on_pause_over, listener);
    }
}

struct proxy *proxy_new(struct loop *loop, const struct egress_policy *policy,
                        struct record *record, bool held)
{
    struct proxy *proxy = calloc(1, sizeof *proxy);
    if (!proxy)
        abort();
    *proxy = (struct proxy){.loop = loop, .policy = policy, .record = record, .held = held};
    for (unsigned i = 0; i < PROXY_LISTENERS_MAX; i++)
        proxy->listeners[i] = (struct listener){.proxy = proxy, .fd = -1};
    return proxy;
}

void proxy_begin(struct proxy *proxy)
{
    proxy->held = false;
    for (unsigned i = 0; i < PROXY_LISTENERS_MAX; i++)
        if (proxy->listeners[i].source && !proxy->listeners[i].pause)
            loop_change_fd(proxy->listeners[i].source, EPOLLIN);
}

void proxy_stop_listening(struct proxy *proxy, unsigned place)
{
    struct listener *listener = &proxy->listeners[place];
    loop_remove(listener->source);
    loop_remove(listener->pause);
    if (listener->fd >= 0)
        close(listener->fd);
    *listener = (struct listener){.proxy = proxy, .fd = -1};
}

void proxy_free(struct proxy *proxy)
{
    if (!proxy)
        return;
    for (unsigned i = 0; i < PROXY_LISTENERS_MAX; i++)
        proxy_stop_listening(proxy, i);
    while (proxy->oldest)
        connection_free(proxy->oldest);
    free(proxy);
}

int proxy_listen(struct proxy *proxy, unsigned place, int fd, struct err *err)
{
    struct listener *listener = &proxy->listeners[place];
    proxy_stop_listening(proxy, place);
    listener->fd = fd;
    io_set_nonblocking(fd, true);
    listener->source =
        loop_add_fd(proxy->loop, fd, proxy->held ? 0 : EPOLLIN, on_connection, listener, err);
    if (listener->source)
        return 0;
    proxy_stop_listening(proxy, place);
    return err_context(err, "cannot listen");
}
