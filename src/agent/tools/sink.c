#include "agent/tools/sink.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

struct sink {
    struct sinks *sinks;
    struct sink *next;
    int fd;
    pid_t group;
    struct loop_source *io;
};

static void remove_sink(struct sink *sink)
{
    struct sink **at = &sink->sinks->first;
    while (*at != sink)
        at = &(*at)->next;
    *at = sink->next;
    sink->sinks->count--;
    loop_remove(sink->io);
    close(sink->fd);
    free(sink);
}

static void drop(void *arg, uint32_t events)
{
    static char chunk[65536];
    struct sink *sink = arg;
    ssize_t n = read(sink->fd, chunk, sizeof chunk);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        remove_sink(sink);
}

void sinks_add(struct sinks *sinks, int fd, pid_t group)
{
    if (sinks->count == SINKS_MAX) {
        struct sink *oldest = sinks->first;
        while (oldest->next)
            oldest = oldest->next;
        remove_sink(oldest);
    }
    struct sink *sink = malloc(sizeof *sink);
    if (!sink)
        abort();
    *sink = (struct sink){.sinks = sinks, .next = sinks->first, .fd = fd, .group = group};
    sinks->first = sink;
    sinks->count++;
    struct err err;
    sink->io = loop_add_fd(sinks->loop, fd, EPOLLIN, drop, sink, &err);
    if (!sink->io)
        remove_sink(sink); /* out of descriptors: as if there were too many sinks */
}

void sinks_signal(const struct sinks *sinks, int signal)
{
    for (const struct sink *sink = sinks->first; sink; sink = sink->next)
        kill(-sink->group, signal);
}

void sinks_release(struct sinks *sinks)
{
    while (sinks->first)
        remove_sink(sinks->first);
}
