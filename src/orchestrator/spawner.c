#include "orchestrator/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/io.h"

enum { PENDING_MAX = 1024 };

/* A request that the socket did not take yet, with duplicates of its descriptors. */
struct pending {
    struct spawn_message message;
    int fds[IO_MAX_FDS];
    size_t count;
    struct pending *next;
};

struct spawner {
    int fd;
    struct loop_source *source;
    struct pending *first, **last;
    size_t pending_count;
    spawner_report_fn *on_run, *on_git;
    void *on_run_arg, *on_git_arg;
    spawner_gone_fn *gone;
    void *gone_arg;
};

static void on_ready(void *arg, uint32_t events);

struct spawner *spawner_new(struct loop *loop, int fd, spawner_gone_fn *gone, void *arg,
                            struct err *err)
{
    struct spawner *spawner = calloc(1, sizeof *spawner);
    if (!spawner)
        abort();
    *spawner = (struct spawner){.fd = fd, .gone = gone, .gone_arg = arg};
    spawner->last = &spawner->first;
    io_set_nonblocking(fd, true);
    spawner->source = loop_add_fd(loop, fd, EPOLLIN, on_ready, spawner, err);
    if (!spawner->source) {
        spawner_free(spawner);
        return NULL;
    }
    return spawner;
}

static void pending_free(struct pending *pending)
{
    while (pending->count)
        close(pending->fds[--pending->count]);
    free(pending);
}

static void drop_first(struct spawner *spawner)
{
    struct pending *first = spawner->first;
    spawner->first = first->next;
    if (!spawner->first)
        spawner->last = &spawner->first;
    spawner->pending_count--;
    pending_free(first);
}

void spawner_free(struct spawner *spawner)
{
    if (!spawner)
        return;
    loop_remove(spawner->source);
    while (spawner->first)
        drop_first(spawner);
    close(spawner->fd);
    free(spawner);
}

void spawner_on_run(struct spawner *spawner, spawner_report_fn *fn, void *arg)
{
    spawner->on_run = fn;
    spawner->on_run_arg = arg;
}

void spawner_on_git(struct spawner *spawner, spawner_report_fn *fn, void *arg)
{
    spawner->on_git = fn;
    spawner->on_git_arg = arg;
}

static void fail(struct spawner *spawner, const struct err *err)
{
    loop_remove(spawner->source);
    spawner->source = NULL;
    spawner->gone(spawner->gone_arg, err);
}

static int keep(struct spawner *spawner, const struct spawn_message *message, const int *fds,
                size_t count, struct err *err)
{
    if (spawner->pending_count == PENDING_MAX)
        return err_set(err, ERR_LIMIT, "the spawner does not take requests any more");
    struct pending *pending = calloc(1, sizeof *pending);
    if (!pending)
        abort();
    pending->message = *message;
    for (; pending->count < count; pending->count++) {
        int fd = fcntl(fds[pending->count], F_DUPFD_CLOEXEC, 3);
        if (fd < 0) {
            int status = err_errno(err, "cannot keep a request for the spawner");
            pending_free(pending);
            return status;
        }
        pending->fds[pending->count] = fd;
    }
    *spawner->last = pending;
    spawner->last = &pending->next;
    spawner->pending_count++;
    loop_change_fd(spawner->source, EPOLLIN | EPOLLOUT);
    return 0;
}

int spawner_send(struct spawner *spawner, struct spawn_message *message, const int *fds,
                 size_t count, struct err *err)
{
    message->magic = SPAWN_MAGIC;
    if (!spawner->source)
        return err_set(err, ERR_REFUSED, "the spawner is gone");
    if (count > IO_MAX_FDS)
        return err_set(err, -E2BIG, "too many descriptors for one request");
    int status = spawner->first
                     ? -EAGAIN
                     : io_send_fds(spawner->fd, message, sizeof *message, fds, count, err);
    return status == -EAGAIN ? keep(spawner, message, fds, count, err) : status;
}

static void send_pending(struct spawner *spawner)
{
    struct err err = {0};
    while (spawner->first) {
        struct pending *first = spawner->first;
        int status = io_send_fds(spawner->fd, &first->message, sizeof first->message, first->fds,
                                 first->count, &err);
        if (status == -EAGAIN)
            return;
        if (status < 0) {
            fail(spawner, &err);
            return;
        }
        drop_first(spawner);
    }
    loop_change_fd(spawner->source, EPOLLIN);
}

/* Reports come from a program of ours, but one that runs as root and may be of another build: what
 * does not look like a report ends the connection. */
static int check_report(const struct spawn_message *message, ssize_t len, struct err *err)
{
    const struct spawn_report *report = &message->body.report;
    if (len != (ssize_t)sizeof *message || message->magic != SPAWN_MAGIC)
        return err_set(err, ERR_PROTOCOL, "the spawner sent a message of another build");
    if (message->type < SPAWN_RUN_STARTED || message->type > SPAWN_FAILED ||
        !memchr(report->name.task, '\0', sizeof report->name.task) ||
        !memchr(report->message, '\0', sizeof report->message))
        return err_set(err, ERR_PROTOCOL, "the spawner sent a malformed report");
    return 0;
}

static void deliver(struct spawner *spawner, const struct spawn_message *message)
{
    const struct spawn_report *report = &message->body.report;
    /* A failed request is of git when it names a git job, else of a run. */
    bool git = message->type == SPAWN_GIT_ENDED ||
               (message->type == SPAWN_FAILED && !report->name.task[0]);
    if (git && spawner->on_git)
        spawner->on_git(spawner->on_git_arg, message->type, report);
    else if (!git && spawner->on_run)
        spawner->on_run(spawner->on_run_arg, message->type, report);
}

static void on_ready(void *arg, uint32_t events)
{
    struct spawner *spawner = arg;
    struct err err = {0};
    if (events & EPOLLOUT)
        send_pending(spawner);
    /* A few at a time, so that a burst of reports does not keep the rest waiting. */
    for (int i = 0; i < 16 && spawner->source; i++) {
        struct spawn_message message;
        int fds[IO_MAX_FDS];
        size_t count;
        ssize_t len = io_recv_fds(spawner->fd, &message, sizeof message, fds, &count, &err);
        while (len >= 0 && count)
            close(fds[--count]);
        if (len == -EAGAIN)
            return;
        /* Killed with a message of ours unread, it leaves a reset. */
        if (len == 0 || len == -ECONNRESET)
            err_set(&err, ERR_REFUSED, "the spawner has ended");
        if (len <= 0 || check_report(&message, len, &err) < 0) {
            fail(spawner, &err);
            return;
        }
        deliver(spawner, &message);
    }
}
