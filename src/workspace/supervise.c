#include "workspace/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/privilege.h"
#include "base/process.h"
#include "base/sandbox_layout.h"
#include "workspace/step.h"

enum {
    CHUNK = 65536,
    GRACE_MS = 2000, /* between SIGTERM and SIGKILL */
    FLUSH_MS = 1000, /* for what is still in the pipe once everything is killed */
    STEP_MS = 60000, /* poll no longer than this at once */
};

struct session {
    const struct supervised *what;
    struct supervised_end *end;
    pid_t pid;
    int pidfd;
    int pipe; /* -1 once its end was read */
    bool reader_gone;
};

/* In the child: no core dumps, the task's user, and no life beyond ours (which a change of user
 * would forget, so that comes last). */
static int prepare_child(void *arg)
{
    const struct supervised *what = arg;
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) < 0)
        return -errno;
    int status = 0;
    if (!what->as_root)
        status = geteuid() == 0 ? privilege_drop(SANDBOX_UID, SANDBOX_GID) : privilege_renounce();
    if (status == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        status = -errno;
    return status;
}

static void keep_tail(struct buf *tail, const char *bytes, size_t len)
{
    if (len > tail->max) {
        bytes += len - tail->max;
        len = tail->max;
    }
    if (tail->len + len > tail->max)
        buf_consume(tail, tail->len + len - tail->max);
    buf_append(tail, bytes, len);
}

/* Write to the reader, waiting for it no longer than until DEADLINE_MS. A write of PIPE_BUF bytes
 * to a pipe that polls writable does not block (pipe(7)), and the descriptor, which others may
 * share, need not become non-blocking. */
static void pass_on(struct session *session, const char *bytes, size_t len, int64_t deadline_ms)
{
    while (len && !session->reader_gone) {
        int64_t left = deadline_ms - clock_mono_ms();
        struct pollfd out = {session->what->out_fd, POLLOUT, 0};
        if (left <= 0)
            return;
        int ready = poll(&out, 1, left > STEP_MS ? STEP_MS : (int)left);
        if (ready < 0 && errno != EINTR)
            session->reader_gone = true;
        if (ready <= 0)
            continue;
        ssize_t n = write(out.fd, bytes, len < PIPE_BUF ? len : PIPE_BUF);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            session->reader_gone = true;
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
}

/* Take what there is in the pipe. */
static void take(struct session *session, int64_t deadline_ms)
{
    char chunk[CHUNK];
    ssize_t n = read(session->pipe, chunk, sizeof chunk);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        close(session->pipe);
        session->pipe = -1;
        return;
    }
    keep_tail(session->what->tail, chunk, (size_t)n);
    if (session->what->output)
        session->what->output(session->what->output_arg, chunk, (size_t)n);
    pass_on(session, chunk, (size_t)n, deadline_ms);
}

/* Serve the pipe until the command has ended, the pipe too if BOTH, or the deadline is there.
 * Returns 1 when it is. */
static int serve(struct session *session, bool both, int64_t deadline_ms)
{
    bool ended = false;
    while (!ended || (both && session->pipe >= 0)) {
        int64_t left = deadline_ms - clock_mono_ms();
        if (left <= 0)
            return 1;
        struct pollfd fds[] = {{ended ? -1 : session->pidfd, POLLIN, 0},
                               {session->pipe, POLLIN, 0}};
        if (poll(fds, 2, left > STEP_MS ? STEP_MS : (int)left) < 0)
            continue;
        if (fds[1].revents)
            take(session, deadline_ms);
        if (fds[0].revents)
            ended = true;
    }
    return 0;
}

static void kill_everything(struct session *session)
{
    kill(-session->pid, SIGKILL);
    if (session->what->as_root)
        privilege_kill_others();
    else
        privilege_kill_all(SANDBOX_UID, SANDBOX_GID);
}

static int start(struct session *session, struct err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_errno(err, "cannot create a pipe");
    session->pipe = ends[0];
    const struct process_fd fds[] = {{ends[1], 1}, {ends[1], 2}};
    const struct process_options options = {.argv = session->what->argv,
                                            .envp = session->what->envp,
                                            .fds = fds,
                                            .fds_count = 2,
                                            .cwd = session->what->dir,
                                            .new_session = true,
                                            .prepare = prepare_child,
                                            .prepare_arg = (void *)session->what};
    session->pid = process_spawn(&options, err);
    close(ends[1]);
    if (session->pid < 0)
        return session->pid;
    io_set_nonblocking(session->pipe, true);
    session->pidfd = (int)syscall(SYS_pidfd_open, session->pid, 0);
    return session->pidfd < 0 ? err_errno(err, "cannot watch '%s'", session->what->argv[0]) : 0;
}

static int run(struct session *session, struct err *err)
{
    const struct supervised *what = session->what;
    if (serve(session, false, what->deadline_ms)) {
        session->end->timed_out = true;
        kill(-session->pid, SIGTERM);
        serve(session, true, clock_mono_ms() + GRACE_MS);
    }
    /* The command itself is killed only if it is still there: it is not reaped yet, so its number
     * is nobody else's. What it left in the background is ended before it can write for ever. */
    kill_everything(session);
    serve(session, true, clock_mono_ms() + FLUSH_MS);
    int status = process_wait(session->pid);
    session->pid = -1;
    if (status < 0)
        return err_set(err, status, "cannot wait for '%s'", what->argv[0]);
    session->end->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    session->end->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return 0;
}

/* Why exec(2) fails because of the program that is named, and not because of us. */
static bool is_missing(int status)
{
    static const int reasons[] = {ENOENT, EACCES, ENOEXEC, ENOTDIR, ELOOP, ENAMETOOLONG, E2BIG};
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (status == -reasons[i])
            return true;
    return false;
}

/* As a shell would: the reason is part of the output, the exit code is 127. */
static void report_missing(struct session *session, const struct err *err)
{
    char line[sizeof err->message + 2];
    int n = snprintf(line, sizeof line, "%s\n", err->message);
    keep_tail(session->what->tail, line, (size_t)n);
    pass_on(session, line, (size_t)n, clock_mono_ms() + FLUSH_MS);
    session->end->exit_code = 127;
}

int supervise(const struct supervised *what, struct supervised_end *end, struct err *err)
{
    struct session session = {.what = what, .end = end, .pid = -1, .pidfd = -1, .pipe = -1};
    *end = (struct supervised_end){0};
    int status = start(&session, err);
    if (status == 0)
        status = run(&session, err);
    else if (session.pid < 0 && is_missing(status)) {
        report_missing(&session, err);
        status = 0;
    }
    if (session.pid > 0) { /* it was started, and could not be watched */
        kill_everything(&session);
        process_wait(session.pid);
    }
    if (session.pipe >= 0)
        close(session.pipe);
    if (session.pidfd >= 0)
        close(session.pidfd);
    return status;
}
