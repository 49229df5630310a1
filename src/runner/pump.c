#include "runner/pump.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { PUMP_SIZE = 16384 };

struct pump {
    int in, out;
    struct loop_source *in_source, *out_source;
    struct loop *loop;
    bool ended; /* IN gives no more */
    pump_ended_fn *fn;
    void *arg;
    size_t len;
    char bytes[PUMP_SIZE];
};

static void finish(struct pump *pump)
{
    loop_remove(pump->in_source);
    loop_remove(pump->out_source);
    pump->in_source = pump->out_source = NULL;
    pump->fn(pump->arg);
}

static void on_writable(void *arg, uint32_t events);

static void on_readable(void *arg, uint32_t events);

/* Watch what can move: IN while there is room (a hang-up would be told again and again otherwise),
 * OUT while there are bytes. */
static void rearm(struct pump *pump)
{
    if (pump->in_source && pump->len == PUMP_SIZE) {
        loop_remove(pump->in_source);
        pump->in_source = NULL;
    } else if (!pump->in_source && !pump->ended && pump->len < PUMP_SIZE) {
        pump->in_source = loop_add_fd(pump->loop, pump->in, EPOLLIN, on_readable, pump, NULL);
    }
    if (pump->len && !pump->out_source) {
        pump->out_source = loop_add_fd(pump->loop, pump->out, EPOLLOUT, on_writable, pump, NULL);
        pump->ended |= !pump->out_source; /* it cannot be watched: nothing more gets through */
        pump->len = pump->out_source ? pump->len : 0;
    }
    if (!pump->len && pump->out_source) {
        loop_remove(pump->out_source);
        pump->out_source = NULL;
    }
    if (pump->ended && !pump->len)
        finish(pump);
}

static void on_writable(void *arg, uint32_t events)
{
    struct pump *pump = arg;
    ssize_t n = write(pump->out, pump->bytes, pump->len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) { /* nobody reads it any more */
        pump->len = 0;
        finish(pump);
        return;
    }
    pump->len -= (size_t)n;
    memmove(pump->bytes, pump->bytes + n, pump->len);
    rearm(pump);
}

static void on_readable(void *arg, uint32_t events)
{
    struct pump *pump = arg;
    ssize_t n = read(pump->in, pump->bytes + pump->len, PUMP_SIZE - pump->len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) { /* EIO: the other side of a terminal is closed */
        loop_remove(pump->in_source);
        pump->in_source = NULL;
        pump->ended = true;
    } else {
        pump->len += (size_t)n;
    }
    rearm(pump);
}

struct pump *pump_new(struct loop *loop, int in, int out, pump_ended_fn *fn, void *arg,
                      struct err *err)
{
    struct pump *pump = calloc(1, sizeof *pump);
    if (!pump)
        abort();
    pump->loop = loop;
    pump->in = in;
    pump->out = out;
    pump->fn = fn;
    pump->arg = arg;
    pump->in_source = loop_add_fd(loop, in, EPOLLIN, on_readable, pump, err);
    if (!pump->in_source) {
        free(pump);
        return NULL;
    }
    return pump;
}

void pump_free(struct pump *pump)
{
    if (!pump)
        return;
    loop_remove(pump->in_source);
    loop_remove(pump->out_source);
    free(pump);
}
