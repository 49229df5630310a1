#include "gateway/resolve.h"

#include <ares.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/time.h>

#include "base/str.h"

enum { SOCKETS_MAX = 16, TRY_TIMEOUT_MS = 2000, TRIES = 3 };

struct watch {
    struct resolve *resolve;
    ares_socket_t fd;
    struct loop_source *source; /* NULL: the place is free */
};

struct resolve {
    struct loop *loop;
    ares_channel channel;
    char *host;
    resolve_fn *fn;
    void *arg;
    struct watch watches[SOCKETS_MAX];
    struct loop_source *timer;
    bool has_answer;
    struct net_address addresses[RESOLVE_ADDRESSES_MAX];
    size_t count;
    struct err err;
};

static void on_timer(void *arg);

/* Tell the answer when there is one (RESOLVE may be freed then), else wait for what c-ares waits
 * for. */
static void go_on(struct resolve *resolve)
{
    loop_remove(resolve->timer);
    resolve->timer = NULL;
    if (resolve->has_answer) {
        resolve->fn(resolve->arg, resolve->addresses, resolve->count, &resolve->err);
        return;
    }
    struct timeval room, *left = ares_timeout(resolve->channel, NULL, &room);
    int64_t delay_ms = left ? left->tv_sec * 1000 + left->tv_usec / 1000 + 1 : TRY_TIMEOUT_MS;
    resolve->timer = loop_add_timer(resolve->loop, delay_ms, on_timer, resolve);
}

static void on_timer(void *arg)
{
    struct resolve *resolve = arg;
    resolve->timer = NULL;
    if (!resolve->has_answer)
        ares_process_fd(resolve->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    go_on(resolve);
}

static void on_socket(void *arg, uint32_t events)
{
    const struct watch *watch = arg;
    struct resolve *resolve = watch->resolve;
    bool writable = events & EPOLLOUT, readable = events & ~(uint32_t)EPOLLOUT;
    ares_process_fd(resolve->channel, readable ? watch->fd : ARES_SOCKET_BAD,
                    writable ? watch->fd : ARES_SOCKET_BAD);
    go_on(resolve);
}

/* c-ares wants (or no longer wants) to know about FD. One that finds no place is left to time
 * out. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct resolve *resolve = arg;
    uint32_t events = (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0);
    struct watch *watch = NULL;
    for (int i = 0; i < SOCKETS_MAX; i++) {
        struct watch *candidate = &resolve->watches[i];
        if (candidate->source && candidate->fd == fd) {
            watch = candidate;
            break;
        }
        if (!candidate->source && !watch)
            watch = candidate;
    }
    if (!watch)
        return;
    if (watch->source && events) {
        loop_change_fd(watch->source, events);
    } else if (watch->source) {
        loop_remove(watch->source);
        watch->source = NULL;
    } else if (events) {
        *watch = (struct watch){.resolve = resolve, .fd = fd};
        watch->source = loop_add_fd(resolve->loop, fd, events, on_socket, watch, NULL);
    }
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct resolve *resolve = arg;
    resolve->has_answer = true;
    if (status == ARES_SUCCESS)
        for (struct ares_addrinfo_node *node = info->nodes; node; node = node->ai_next)
            if (resolve->count < RESOLVE_ADDRESSES_MAX &&
                net_address_from_socket(&resolve->addresses[resolve->count], node->ai_addr))
                resolve->count++;
    if (!resolve->count)
        err_set(&resolve->err, ERR_NOT_FOUND, "cannot resolve '%s': %s", resolve->host,
                status == ARES_SUCCESS ? "it has no address" : ares_strerror(status));
    if (info)
        ares_freeaddrinfo(info);
}

/* A channel for each question: resolv.conf may have changed since the last. */
static int open_channel(struct resolve *resolve, const struct resolve_question *question)
{
    struct ares_options options = {.timeout = TRY_TIMEOUT_MS,
                                   .tries = TRIES,
                                   .sock_state_cb = on_socket_state,
                                   .sock_state_cb_data = resolve,
                                   .lookups = (char *)(uintptr_t) "b"};
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
    if (question->exact)
        mask |= ARES_OPT_DOMAINS; /* none */
    if (question->resolver)
        mask |= ARES_OPT_LOOKUPS;
    int status = ares_library_init(ARES_LIB_INIT_ALL);
    if (status == ARES_SUCCESS)
        status = ares_init_options(&resolve->channel, &options, mask);
    if (status == ARES_SUCCESS && question->resolver) {
        status = ares_set_servers_ports_csv(resolve->channel, question->resolver);
        if (status != ARES_SUCCESS)
            ares_destroy(resolve->channel);
    }
    return status;
}

struct resolve *resolve_start(struct loop *loop, const struct resolve_question *question,
                              resolve_fn *fn, void *arg, struct err *err)
{
    struct resolve *resolve = calloc(1, sizeof *resolve);
    if (!resolve)
        abort();
    *resolve =
        (struct resolve){.loop = loop, .host = str_dup(question->host), .fn = fn, .arg = arg};
    int status = open_channel(resolve, question);
    if (status != ARES_SUCCESS) {
        err_set(err, -EIO, "cannot resolve '%s': %s", question->host, ares_strerror(status));
        free(resolve->host);
        free(resolve);
        return NULL;
    }
    struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    ares_getaddrinfo(resolve->channel, resolve->host, NULL, &hints, on_answer, resolve);
    /* The answer may be there already (/etc/hosts), but is never told before this returns. */
    resolve->timer =
        loop_add_timer(loop, resolve->has_answer ? 0 : TRY_TIMEOUT_MS, on_timer, resolve);
    return resolve;
}

void resolve_free(struct resolve *resolve)
{
    if (!resolve)
        return;
    ares_destroy(resolve->channel); /* calls on_answer and on_socket_state for what is open */
    loop_remove(resolve->timer);
    for (int i = 0; i < SOCKETS_MAX; i++)
        loop_remove(resolve->watches[i].source);
    free(resolve->host);
    free(resolve);
}
