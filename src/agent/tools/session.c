#include "agent/tools/session.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    CHUNK_BYTES = 65536, /* a pipe's capacity: more is never there at once */
    CHUNKS_AT_EXIT = 16, /* read without going back to the loop; a flood must not hold it up */
};

static void shut_output(struct session *session)
{
    loop_remove(session->io);
    session->io = NULL;
    if (session->fd >= 0)
        close(session->fd);
    session->fd = -1;
    session->at_end = true;
}

/* Read once. False when there is nothing more for now, or ever. */
static bool read_output(struct session *session)
{
    static char chunk[CHUNK_BYTES];
    ssize_t n;
    do
        n = read(session->fd, chunk, sizeof chunk);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0) { /* a pty whose other end is closed says EIO */
        shut_output(session);
        return false;
    }
    output_append(&session->unread, chunk, (size_t)n);
    output_append(&session->whole, chunk, (size_t)n);
    return true;
}

static void end(struct session *session)
{
    loop_remove(session->quiet);
    session->quiet = NULL;
    loop_remove(session->io);
    session->io = NULL;
    session->ended = true;
    session->watcher.ended(session->watcher.arg);
}

static void been_quiet(void *arg)
{
    struct session *session = arg;
    session->quiet = NULL;
    end(session);
}

/* The process has exited; END when its output has too, or wait a little for more of it. */
static void end_or_wait(struct session *session)
{
    int64_t left_ms = session->drain_until_ms - clock_mono_ms();
    if (session->at_end || left_ms <= 0) {
        end(session);
        return;
    }
    loop_remove(session->quiet);
    session->quiet =
        loop_add_timer(session->loop, left_ms < SESSION_QUIET_MS ? left_ms : SESSION_QUIET_MS,
                       been_quiet, session);
}

static void write_input(struct session *session)
{
    while (session->input.len) {
        ssize_t n = write(session->fd, session->input.data, session->input.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        buf_consume(&session->input, (size_t)n);
    }
    loop_change_fd(session->io, session->input.len ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void on_io(void *arg, uint32_t events)
{
    struct session *session = arg;
    if (events & EPOLLOUT)
        write_input(session);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    bool printed = read_output(session);
    if (session->exited)
        end_or_wait(session);
    else if (printed)
        session->watcher.printed(session->watcher.arg);
}

static void on_exit_of_process(void *arg, pid_t pid, int wait_status)
{
    struct session *session = arg;
    session->child = NULL;
    session->exited = true;
    session->exit_code =
        WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
    session->drain_until_ms = clock_mono_ms() + SESSION_DRAIN_MS;
    for (int i = 0; i < CHUNKS_AT_EXIT && !session->at_end && read_output(session); i++)
        continue;
    end_or_wait(session);
}

static int watch(struct session *session, struct err *err)
{
    session->io = loop_add_fd(session->loop, session->fd, EPOLLIN, on_io, session, err);
    session->child =
        session->io ? loop_add_child(session->loop, session->pid, on_exit_of_process, session, err)
                    : NULL;
    return session->child ? 0 : -1;
}

struct session *session_start(const struct command *command, const struct session_watcher *watcher,
                              struct err *err)
{
    struct session *session = calloc(1, sizeof *session);
    if (!session)
        abort();
    session->fd = -1;
    session->tty = command->tty;
    session->loop = command->host->loop;
    session->watcher = *watcher;
    output_init(&session->unread, SESSION_KEPT_BYTES);
    output_init(&session->whole, SESSION_SHOWN_BYTES);
    buf_init(&session->input, SESSION_INPUT_MAX);
    session->pid = command_start(command, &session->fd, err);
    if (session->pid > 0 && watch(session, err) == 0)
        return session;
    if (session->pid > 0) {
        kill(-session->pid, SIGKILL);
        waitpid(session->pid, NULL, 0);
    }
    session_free(session);
    return NULL;
}

int session_type(struct session *session, const char *bytes, size_t len, struct err *err)
{
    if (session->at_end || session->exited)
        return 0; /* nobody reads it any more; that it has ended is what the caller learns next */
    if (buf_append(&session->input, bytes, len) < 0)
        return err_set(err, -ENOSPC, "the process does not read its input (%zu bytes wait)",
                       session->input.len);
    write_input(session);
    return 0;
}

void session_signal(const struct session *session, int signal)
{
    if (!session->exited)
        kill(-session->pid, signal);
}

int session_take_fd(struct session *session)
{
    int fd = session->ended ? session->fd : -1;
    if (fd >= 0)
        session->fd = -1;
    return fd;
}

void session_free(struct session *session)
{
    if (!session)
        return;
    loop_remove(session->child);
    loop_remove(session->quiet);
    shut_output(session);
    output_release(&session->unread);
    output_release(&session->whole);
    buf_release(&session->input);
    free(session);
}
