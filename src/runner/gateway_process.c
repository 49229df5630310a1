/* The gateway's process: started, and replaced when it dies. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/process.h"
#include "runner/gateway_link_internal.h"
#include "runner/privileges.h"

static void gateway_ended(void *arg, pid_t pid, int wait_status);

int gateway_link_start(struct gateway_link *link, struct err *err)
{
    const char *const argv[] = {link->program, NULL};
    const char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", NULL};
    const struct process_fd fds[] = {
        {STDERR_FILENO, STDERR_FILENO},       {link->theirs, GATEWAY_FD_CONTROL},
        {link->events_fd, GATEWAY_FD_EVENTS}, {link->config_fd, GATEWAY_FD_CONFIG},
        {link->replay_fd, GATEWAY_FD_REPLAY},
    };
    if (lseek(link->config_fd, 0, SEEK_SET) < 0) /* a gateway before this one has read it */
        return err_errno(err, "cannot rewind the gateway's configuration");
    AUTO_FD int executable = open(link->program, O_RDONLY | O_CLOEXEC);
    if (executable < 0)
        return err_errno(err, "cannot run '%s'", link->program);
    const struct process_options options = {.argv = argv,
                                            .program_fd = executable,
                                            .envp = environment,
                                            .fds = fds,
                                            .fds_count = link->replay_fd >= 0 ? 5 : 4,
                                            .namespaces = PRIVILEGES_ALONE,
                                            .prepare = privileges_become_lone_nobody};
    link->pid = process_spawn(&options, err);
    if (link->pid < 0)
        return link->pid;
    link->process = loop_add_child(link->loop, link->pid, gateway_ended, link, err);
    return link->process ? 0 : err->code;
}

/* Whether a message that a dead gateway left unread goes to the next one. The others are made anew,
 * from what we know. */
static bool is_kept(uint32_t type)
{
    return type != GATEWAY_LISTEN && type != GATEWAY_UNLISTEN && type != GATEWAY_STREAM &&
           type != GATEWAY_STREAM_STOP && type != GATEWAY_RUN_ENDED && type != GATEWAY_NARROW;
}

struct unread {
    struct unread *next;
    size_t len;
    char bytes[];
};

/* Take the unread messages out of the dead gateway's end, oldest first. */
static struct unread *take_unread(struct gateway_link *link)
{
    struct unread *first = NULL, **last = &first;
    for (;;) {
        struct unread *one =
            malloc(sizeof *one + sizeof(struct gateway_control) + GATEWAY_PAYLOAD_MAX);
        if (!one)
            abort();
        int fds[IO_MAX_FDS];
        size_t count;
        ssize_t n =
            io_recv_fds(link->theirs, one->bytes,
                        sizeof(struct gateway_control) + GATEWAY_PAYLOAD_MAX, fds, &count, NULL);
        while (count)
            close(fds[--count]);
        if (n < (ssize_t)sizeof(struct gateway_control)) {
            free(one);
            return first;
        }
        if (!is_kept(((struct gateway_control *)one->bytes)->type)) {
            free(one);
            continue;
        }
        *one = (struct unread){.len = (size_t)n};
        *last = one;
        last = &one->next;
    }
}

static void post_unread(struct gateway_link *link, struct unread *first)
{
    while (first) {
        struct unread *one = first;
        struct gateway_control header;
        memcpy(&header, one->bytes, sizeof header);
        gateway_link_post(link, &header, one->bytes + sizeof header, -1);
        first = one->next;
        free(one);
    }
}

void gateway_link_restart(struct gateway_link *link)
{
    struct err err;
    if (++link->restarts > GATEWAY_RESTARTS_MAX) {
        gateway_link_break(link, "it keeps dying");
        return;
    }
    io_set_nonblocking(link->theirs, true);
    struct unread *unread = take_unread(link);
    io_set_nonblocking(link->theirs, false);
    if (gateway_link_start(link, &err) < 0)
        gateway_link_break(link, err.message);
    if (link->narrowed)
        gateway_link_post_narrowing(link);
    for (unsigned kind = 0; kind < GATEWAY_LISTENER_COUNT; kind++)
        if (link->listeners[kind] >= 0)
            gateway_link_post_listener(link, kind);
    post_unread(link, unread);
    for (unsigned i = 0; i < GATEWAY_STREAMS_MAX; i++) {
        if (link->streams[i].fd < 0)
            continue;
        gateway_link_post_stream(link, &link->streams[i]);
        if (link->streams[i].stopped)
            gateway_link_post_stop(link, &link->streams[i]);
    }
    if (link->ended.type && !link->written)
        gateway_link_post_ended(link);
}

static void gateway_ended(void *arg, pid_t pid, int wait_status)
{
    struct gateway_link *link = arg;
    link->process = NULL;
    link->pid = 0;
    log_warn(link->task, "gateway ended with status %#x: replaced", (unsigned)wait_status);
    gateway_link_restart(link);
}
