#include "gateway/egress/dial.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/resolve.h"

/* How long an address may take while there are others to try. */
enum { PATIENCE_MS = 3000 };

struct dial {
    struct loop *loop;
    const struct egress_policy *policy;
    const struct net_host *host;
    uint16_t port;
    dial_fn *fn;
    void *arg;
    struct resolve *resolve;
    struct net_address addresses[RESOLVE_ADDRESSES_MAX];
    size_t count, next;
    int fd; /* that connects; -1: none */
    struct loop_source *source, *patience, *deadline, *soon;
    struct err err;
};

static void end(struct dial *dial, const struct dial_end *how)
{
    dial->fn(dial->arg, how); /* DIAL is gone */
}

static void fail(struct dial *dial, bool timed_out)
{
    end(dial, &(struct dial_end){.fd = -1, .timed_out = timed_out, .message = dial->err.message});
}

static void close_attempt(struct dial *dial)
{
    loop_remove(dial->source);
    loop_remove(dial->patience);
    dial->source = dial->patience = NULL;
    if (dial->fd >= 0)
        close(dial->fd);
    dial->fd = -1;
}

static void try_next(struct dial *dial);

static void on_patience_over(void *arg)
{
    struct dial *dial = arg;
    dial->patience = NULL;
    try_next(dial);
}

static void on_connected(void *arg, uint32_t events)
{
    struct dial *dial = arg;
    int error = 0, on = 1;
    socklen_t len = sizeof error;
    if (getsockopt(dial->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error) {
        errno = error;
        err_errno(&dial->err, "cannot connect to %s:%u", dial->host->text, dial->port);
        try_next(dial);
        return;
    }
    setsockopt(dial->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(dial->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    int fd = dial->fd;
    dial->fd = -1;
    close_attempt(dial);
    end(dial, &(struct dial_end){.fd = fd});
}

/* Begin to connect to the address; false with dial->err when that is over at once. */
static bool attempt(struct dial *dial, const struct net_address *address)
{
    struct sockaddr_storage to;
    socklen_t len = net_address_to_socket(address, dial->port, &to);
    dial->fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (dial->fd < 0 ||
        (connect(dial->fd, (struct sockaddr *)&to, len) < 0 && errno != EINPROGRESS)) {
        err_errno(&dial->err, "cannot connect to %s:%u", dial->host->text, dial->port);
        return false;
    }
    dial->source = loop_add_fd(dial->loop, dial->fd, EPOLLOUT, on_connected, dial, &dial->err);
    return dial->source;
}

static void try_next(struct dial *dial)
{
    close_attempt(dial);
    while (dial->next < dial->count) {
        if (attempt(dial, &dial->addresses[dial->next++])) {
            if (dial->next < dial->count)
                dial->patience = loop_add_timer(dial->loop, PATIENCE_MS, on_patience_over, dial);
            return;
        }
        close_attempt(dial);
    }
    fail(dial, false);
}

/* Every address must be allowed: a name that has private ones beside others is a trap or a
 * mistake. */
static bool check(struct dial *dial, struct dial_end *how)
{
    for (size_t i = 0; i < dial->count; i++) {
        *how = (struct dial_end){.fd = -1,
                                 .verdict = egress_policy_address(dial->policy, dial->host,
                                                                  dial->port, &dial->addresses[i]),
                                 .address = dial->addresses[i]};
        if (how->verdict != EGRESS_ALLOWED)
            return false;
    }
    return true;
}

static void connect_checked(struct dial *dial)
{
    struct dial_end how;
    if (check(dial, &how))
        try_next(dial);
    else
        end(dial, &how);
}

static void on_resolved(void *arg, const struct net_address *addresses, size_t count,
                        const struct err *err)
{
    struct dial *dial = arg;
    dial->count = count;
    memcpy(dial->addresses, addresses, count * sizeof *addresses);
    if (!count)
        dial->err = *err;
    resolve_free(dial->resolve);
    dial->resolve = NULL;
    if (count)
        connect_checked(dial);
    else
        fail(dial, false);
}

static void on_soon(void *arg)
{
    struct dial *dial = arg;
    dial->soon = NULL;
    if (dial->count)
        connect_checked(dial);
    else
        fail(dial, false);
}

static void on_deadline(void *arg)
{
    struct dial *dial = arg;
    dial->deadline = NULL;
    err_set(&dial->err, -ETIMEDOUT, "%s:%u: no connection within %lld s", dial->host->text,
            dial->port, (long long)(dial->policy->limits.connect_ms / 1000));
    fail(dial, true);
}

struct dial *dial_start(struct loop *loop, const struct egress_policy *policy,
                        const struct net_host *host, uint16_t port, dial_fn *fn, void *arg)
{
    struct dial *dial = calloc(1, sizeof *dial);
    if (!dial)
        abort();
    *dial = (struct dial){
        .loop = loop, .policy = policy, .host = host, .port = port, .fn = fn, .arg = arg, .fd = -1};
    dial->deadline = loop_add_timer(loop, policy->limits.connect_ms, on_deadline, dial);
    const struct resolve_question question = {
        .host = host->text, .resolver = *policy->resolver ? policy->resolver : NULL, .exact = true};
    if (host->is_address) {
        dial->addresses[0] = host->address;
        dial->count = 1;
    } else {
        dial->resolve = resolve_start(loop, &question, on_resolved, dial, &dial->err);
    }
    if (!dial->resolve)
        dial->soon = loop_add_timer(loop, 0, on_soon, dial);
    return dial;
}

void dial_free(struct dial *dial)
{
    if (!dial)
        return;
    close_attempt(dial);
    loop_remove(dial->deadline);
    loop_remove(dial->soon);
    resolve_free(dial->resolve);
    free(dial);
}
