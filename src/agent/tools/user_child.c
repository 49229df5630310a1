#include "agent/tools/user_child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/user.h"
#include "base/io.h"

enum {
    STOP_MS = 400,
    READ_BYTES = 65536,
    CPU_SECONDS = 30, /* for a patch of many thousand lines that nearly fit everywhere */
};

struct user_child {
    const struct tool_host *host;
    struct user_child_options options;
    pid_t pid;
    int fd;
    int wait_status;
    struct buf report;
    struct loop_source *io, *child, *timeout;
};

/* ---- in the child */

static _Noreturn void child_main(const struct tool_host *host,
                                 const struct user_child_options *options, int fd)
{
    const struct rlimit cpu = {CPU_SECONDS, CPU_SECONDS};
    sigset_t none;
    sigemptyset(&none);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGTERM, SIG_IGN); /* a write is not to be cut in the middle: user_child_stop() */
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* None of the agent's descriptors is any of the user's business. */
    if (dup2(fd, 0) < 0 || syscall(SYS_close_range, 1U, ~0U, 0U) < 0)
        _exit(127);
    setrlimit(RLIMIT_CPU, &cpu);
    umask(022);
    if (user_become(host) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
        _exit(USER_CHILD_NOT_THE_USER);
    struct buf report;
    struct err err;
    buf_init(&report, options->report_max);
    options->work(options->work_arg, &report);
    io_write_all(0, report.data, report.len, &err);
    _exit(0);
}

/* ---- in the agent */

static void kill_child(struct user_child *child)
{
    if (child->child)
        kill(child->pid, SIGKILL);
}

static void finish_when_over(struct user_child *child)
{
    if (child->io || child->child)
        return;
    child->options.done(child->options.done_arg, child->wait_status, &child->report);
    user_child_free(child);
}

static void on_report(void *arg, uint32_t events)
{
    struct user_child *child = arg;
    char *room = buf_reserve(&child->report, READ_BYTES);
    ssize_t n = room ? read(child->fd, room, READ_BYTES) : -1;
    if (n > 0)
        buf_wrote(&child->report, (size_t)n);
    if (n > 0 || (room && n < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    if (!room)
        kill_child(child);
    loop_remove(child->io);
    child->io = NULL;
    finish_when_over(child);
}

static void on_child(void *arg, pid_t pid, int wait_status)
{
    struct user_child *child = arg;
    child->child = NULL;
    child->wait_status = wait_status;
    finish_when_over(child);
}

static void on_timeout(void *arg)
{
    struct user_child *child = arg;
    child->timeout = NULL;
    kill_child(child);
}

static int fork_child(struct user_child *child, struct err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_errno(err, "cannot create a pipe");
    child->fd = ends[0];
    io_set_nonblocking(child->fd, true);
    child->pid = fork();
    if (child->pid == 0)
        child_main(child->host, &child->options, ends[1]);
    int status = child->pid < 0 ? err_errno(err, "cannot fork") : 0;
    close(ends[1]);
    return status;
}

static int watch(struct user_child *child, struct err *err)
{
    struct loop *loop = child->host->loop;
    child->io = loop_add_fd(loop, child->fd, EPOLLIN, on_report, child, err);
    child->child = child->io ? loop_add_child(loop, child->pid, on_child, child, err) : NULL;
    if (!child->child) {
        kill(child->pid, SIGKILL);
        waitpid(child->pid, NULL, 0);
        return -1;
    }
    child->timeout = loop_add_timer(loop, child->options.timeout_ms, on_timeout, child);
    return 0;
}

struct user_child *user_child_start(const struct tool_host *host,
                                    const struct user_child_options *options, struct err *err)
{
    struct user_child *child = calloc(1, sizeof *child);
    if (!child)
        abort();
    *child = (struct user_child){.host = host, .options = *options, .fd = -1};
    buf_init(&child->report, options->report_max + READ_BYTES);
    if (fork_child(child, err) == 0 && watch(child, err) == 0)
        return child;
    user_child_free(child);
    return NULL;
}

void user_child_stop(struct user_child *child)
{
    loop_remove(child->timeout);
    child->timeout = loop_add_timer(child->host->loop, STOP_MS, on_timeout, child);
}

void user_child_free(struct user_child *child)
{
    if (!child)
        return;
    loop_remove(child->io);
    loop_remove(child->child);
    loop_remove(child->timeout);
    if (child->fd >= 0)
        close(child->fd);
    buf_release(&child->report);
    free(child);
}
