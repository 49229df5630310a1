#include "runner/gateway_link.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/process.h"
#include "runner/gateway_link_internal.h"

/* A gateway that reads nothing for so long is as good as dead. */
enum { SEND_TIMEOUT_S = 20 };

/* What it has been told takes a gateway milliseconds to write. */
enum { LAST_WORDS_MS = 2000 };

void gateway_link_break(struct gateway_link *link, const char *why)
{
    if (link->broken)
        return;
    link->broken = true;
    err_set(&link->err, -EPIPE, "no gateway: %s", why);
    /* Nobody will read them: who writes into them shall not wait. */
    for (unsigned i = 0; i < GATEWAY_STREAMS_MAX; i++) {
        if (link->streams[i].fd >= 0)
            close(link->streams[i].fd);
        link->streams[i].fd = -1;
    }
}

/* One message, to the socket only. */
static int send_message(struct gateway_link *link, const struct gateway_control *message,
                        const void *payload, int fd, struct err *err)
{
    static char bytes[sizeof *message + GATEWAY_PAYLOAD_MAX];
    if (message->payload_size > GATEWAY_PAYLOAD_MAX)
        abort();
    memcpy(bytes, message, sizeof *message);
    if (message->payload_size)
        memcpy(bytes + sizeof *message, payload, message->payload_size);
    return io_send_fds(link->ours, bytes, sizeof *message + message->payload_size, &fd, fd >= 0,
                       err);
}

void gateway_link_post(struct gateway_link *link, const struct gateway_control *message,
                       const void *payload, int fd)
{
    struct err err;
    if (link->broken || send_message(link, message, payload, fd, &err) == 0)
        return;
    if (err.code == -EAGAIN && link->pid > 0) {
        log_warn(link->task, "gateway does not read: replaced");
        loop_remove(link->process);
        link->process = NULL;
        kill(link->pid, SIGKILL);
        process_wait(link->pid);
        link->pid = 0;
        gateway_link_restart(link);
        if (link->broken || send_message(link, message, payload, fd, &err) == 0)
            return;
    }
    gateway_link_break(link, err.message);
}

void gateway_link_post_listener(struct gateway_link *link, enum gateway_listener kind)
{
    gateway_link_post(link, &(struct gateway_control){.type = GATEWAY_LISTEN, .kind = kind}, NULL,
                      link->listeners[kind]);
}

void gateway_link_post_narrowing(struct gateway_link *link)
{
    gateway_link_post(link,
                      &(struct gateway_control){.type = GATEWAY_NARROW,
                                                .payload_size = (uint32_t)link->narrowing.len},
                      link->narrowing.data, -1);
}

void gateway_link_post_stream(struct gateway_link *link, const struct gateway_stream *stream)
{
    gateway_link_post(link,
                      &(struct gateway_control){.type = GATEWAY_STREAM,
                                                .phase = stream->phase,
                                                .stream = stream->number,
                                                .kind = stream->kind},
                      NULL, stream->fd);
}

void gateway_link_post_stop(struct gateway_link *link, const struct gateway_stream *stream)
{
    gateway_link_post(
        link, &(struct gateway_control){.type = GATEWAY_STREAM_STOP, .stream = stream->number},
        NULL, -1);
}

void gateway_link_post_ended(struct gateway_link *link)
{
    gateway_link_post(link, &link->ended, link->ended_message, -1);
}

static void stream_ended(struct gateway_link *link, uint32_t number)
{
    for (unsigned i = 0; i < GATEWAY_STREAMS_MAX; i++) {
        struct gateway_stream *stream = &link->streams[i];
        if (stream->fd < 0 || stream->number != number)
            continue;
        close(stream->fd);
        stream->fd = -1;
    }
}

/* Anything but a possible value means none. */
static void take_limit(struct gateway_link *link, uint32_t kind, uint64_t figure)
{
    if (kind < TASK_LIMIT_COUNT && figure <= INT64_MAX && task_limit_valid(kind, (int64_t)figure))
        link->limits.of[kind] = (int64_t)figure;
}

static void on_message(void *arg, uint32_t events)
{
    struct gateway_link *link = arg;
    struct gateway_control message;
    int fds[IO_MAX_FDS];
    size_t count;
    struct err err;
    ssize_t n = io_recv_fds(link->ours, &message, sizeof message, fds, &count, &err);
    while (n >= 0 && count)
        close(fds[--count]);
    if (n == -EAGAIN)
        return;
    if (n != (ssize_t)sizeof message || message.payload_size)
        gateway_link_break(link, "it sent something malformed");
    else if (message.type == GATEWAY_STREAM_ENDED)
        stream_ended(link, message.stream);
    else if (message.type == GATEWAY_WRITTEN && link->ended.type)
        link->written = true;
    else if (message.type == GATEWAY_LIMIT)
        take_limit(link, message.kind, message.figure);
    else if (message.type == GATEWAY_NARROWED)
        link->answered = true;
    else
        gateway_link_break(link, "it sent an unknown message");
}

/* `ours` blocks: sending waits for the gateway, with a limit; it is read only when there is
 * something. */
static int open_sockets(struct gateway_link *link, struct err *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_errno(err, "cannot create a socket pair");
    link->ours = pair[0];
    link->theirs = pair[1];
    const struct timeval limit = {.tv_sec = SEND_TIMEOUT_S};
    if (setsockopt(link->ours, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0)
        return err_errno(err, "cannot limit a socket's waiting");
    link->socket = loop_add_fd(link->loop, link->ours, EPOLLIN, on_message, link, err);
    return link->socket ? 0 : err->code;
}

void gateway_link_init(struct gateway_link *link)
{
    *link = (struct gateway_link){.ours = -1, .theirs = -1};
    buf_init(&link->narrowing, GATEWAY_PAYLOAD_MAX);
    for (unsigned i = 0; i < GATEWAY_STREAMS_MAX; i++)
        link->streams[i].fd = -1;
    for (unsigned i = 0; i < GATEWAY_LISTENER_COUNT; i++)
        link->listeners[i] = -1;
}

int gateway_link_open(struct gateway_link *link, struct loop *loop,
                      const struct gateway_link_options *options, struct err *err)
{
    gateway_link_init(link);
    link->loop = loop;
    link->program = options->program;
    link->task = options->task;
    link->events_fd = options->events_fd;
    link->config_fd = options->config_fd;
    link->replay_fd = options->replay_fd;
    int status = open_sockets(link, err);
    if (status == 0)
        status = gateway_link_start(link, err);
    return status < 0 ? err_context(err, "cannot start the gateway") : 0;
}

/* One that has not written the end has other things to write: it does, and exits, once nothing more
 * can come. */
static void end_process(struct gateway_link *link)
{
    AUTO_FD int pidfd = link->written ? -1 : (int)syscall(SYS_pidfd_open, link->pid, 0);
    if (pidfd >= 0) {
        shutdown(link->ours, SHUT_RDWR);
        poll(&(struct pollfd){.fd = pidfd, .events = POLLIN}, 1, LAST_WORDS_MS);
    }
    kill(link->pid, SIGKILL);
    process_wait(link->pid);
}

static void close_listener(struct gateway_link *link, enum gateway_listener kind)
{
    if (link->listeners[kind] >= 0)
        close(link->listeners[kind]);
    link->listeners[kind] = -1;
}

void gateway_link_close(struct gateway_link *link)
{
    loop_remove(link->process);
    loop_remove(link->socket);
    if (link->pid > 0)
        end_process(link);
    if (link->ours >= 0) {
        close(link->ours);
        close(link->theirs);
    }
    buf_release(&link->narrowing);
    for (unsigned i = 0; i < GATEWAY_LISTENER_COUNT; i++)
        close_listener(link, i);
    for (unsigned i = 0; i < GATEWAY_STREAMS_MAX; i++)
        if (link->streams[i].fd >= 0)
            close(link->streams[i].fd);
    gateway_link_init(link);
}

void gateway_link_listen(struct gateway_link *link, enum gateway_listener kind, int listener)
{
    close_listener(link, kind);
    link->listeners[kind] = listener;
    gateway_link_post_listener(link, kind);
}

void gateway_link_unlisten(struct gateway_link *link, enum gateway_listener kind)
{
    if (link->listeners[kind] < 0)
        return;
    close_listener(link, kind);
    gateway_link_post(link, &(struct gateway_control){.type = GATEWAY_UNLISTEN, .kind = kind}, NULL,
                      -1);
}

void gateway_link_narrow(struct gateway_link *link, const struct buf *checkout)
{
    buf_clear(&link->narrowing);
    if (buf_append(&link->narrowing, checkout->data, checkout->len) < 0)
        abort(); /* a step's result is no larger */
    link->narrowed = true;
    gateway_link_post_narrowing(link);
}

void gateway_link_phase_started(struct gateway_link *link, uint32_t phase, uint32_t round)
{
    gateway_link_post(
        link,
        &(struct gateway_control){.type = GATEWAY_PHASE_STARTED, .phase = phase, .round = round},
        NULL, -1);
}

void gateway_link_phase_completed(struct gateway_link *link, uint32_t phase, uint32_t round,
                                  int status, int64_t duration_ms, const char *result,
                                  size_t result_len)
{
    gateway_link_post(link,
                      &(struct gateway_control){.type = GATEWAY_PHASE_COMPLETED,
                                                .phase = phase,
                                                .round = round,
                                                .status = status,
                                                .duration_ms = duration_ms,
                                                .payload_size = (uint32_t)result_len},
                      result, -1);
}

void gateway_link_stream(struct gateway_link *link, uint32_t phase, enum gateway_stream_kind kind,
                         int fd)
{
    if (link->broken) {
        close(fd);
        return;
    }
    unsigned i = 0;
    while (i < GATEWAY_STREAMS_MAX && link->streams[i].fd >= 0)
        i++;
    if (i == GATEWAY_STREAMS_MAX)
        abort(); /* a step has two, and they end before the next step */
    link->streams[i] = (struct gateway_stream){
        .fd = fd, .number = ++link->streams_made, .phase = phase, .kind = kind};
    gateway_link_post_stream(link, &link->streams[i]);
}

void gateway_link_note(struct gateway_link *link, uint32_t phase, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    gateway_link_post(link,
                      &(struct gateway_control){.type = GATEWAY_NOTE,
                                                .phase = phase,
                                                .payload_size = (uint32_t)strlen(text)},
                      text, -1);
}

void gateway_link_limit_hit(struct gateway_link *link, uint32_t phase, const char *limit,
                            uint64_t figure)
{
    gateway_link_post(link,
                      &(struct gateway_control){.type = GATEWAY_LIMIT_HIT,
                                                .phase = phase,
                                                .figure = figure,
                                                .payload_size = (uint32_t)strlen(limit)},
                      limit, -1);
}

bool gateway_link_is_drained(const struct gateway_link *link)
{
    for (unsigned i = 0; i < GATEWAY_STREAMS_MAX; i++)
        if (link->streams[i].fd >= 0)
            return false;
    return true;
}

void gateway_link_stop_streams(struct gateway_link *link)
{
    for (unsigned i = 0; i < GATEWAY_STREAMS_MAX; i++) {
        struct gateway_stream *stream = &link->streams[i];
        if (stream->fd < 0 || stream->stopped)
            continue;
        stream->stopped = true;
        gateway_link_post_stop(link, stream);
    }
}

void gateway_link_run_ended(struct gateway_link *link, const struct gateway_control *ended,
                            const char *message)
{
    link->ended = *ended;
    link->ended.type = GATEWAY_RUN_ENDED;
    snprintf(link->ended_message, sizeof link->ended_message, "%s", message);
    link->ended.payload_size = (uint32_t)strlen(link->ended_message);
    gateway_link_post_ended(link);
}
