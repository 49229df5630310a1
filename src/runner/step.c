#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/sandbox_layout.h"
#include "runner/disk_watch.h"
#include "runner/run_internal.h"

/* What may hold a step's pipes open after its end (a daemon of the tests) has this long to
 * finish. */
enum { LINGER_MS = 2000 };

/* A step while it runs. `inside` are its ends of the pipes, `outside` ours. */
struct running {
    struct run *run;
    const struct step *step;
    struct step_outcome *outcome;
    struct sandbox *sandbox;
    struct disk_watch *disk;
    int inside[SANDBOX_STEP_FDS];
    int output, third; /* ours; given away as soon as somebody reads them */
    struct loop_source *result_source;
    struct copy *copy;
    bool ended, lingered;
    struct loop_source *linger;
};

struct step step_named(const char *name, enum sandbox_profile profile, int64_t timeout_ms)
{
    return (struct step){.name = name,
                         .profile = profile,
                         .timeout_ms = timeout_ms,
                         .read_fd = -1,
                         .work_fd = -1,
                         .feedback_fd = -1,
                         .copy_to = -1};
}

/*
 * The same file from its beginning, for reading only, whatever may be done with FD: who gets this
 * shares no position with us. git opens what it is given once more, by /proc/self/fd, as a user
 * that to the host is nobody in particular: the file has to be readable for everybody. codexd makes
 * it so (in its own directory, which nobody else can enter); that is not for root to change.
 */
static int reopen(int fd, struct err *err)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    AUTO_FD int again = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (again < 0 || fstat(again, &st) < 0)
        return err_errno(err, "cannot open a file of the run again");
    if (!(st.st_mode & S_IROTH))
        return err_set(err, ERR_REFUSED,
                       "a file of the run is not readable for the sandbox's users");
    return steal_fd(&again);
}

static int make_pipe(int *reader, int *writer, struct err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_errno(err, "cannot create a pipe");
    *reader = ends[0];
    *writer = ends[1];
    return io_set_nonblocking(ends[0], true);
}

/* Descriptor TO inside is FD opened anew; nothing when FD is -1. */
static int give_file(struct running *self, int to, int fd, struct err *err)
{
    if (fd < 0)
        return 0;
    self->inside[to] = reopen(fd, err);
    return self->inside[to] < 0 ? self->inside[to] : 0;
}

static int open_descriptors(struct running *self, struct err *err)
{
    const struct step *step = self->step;
    struct run *run = self->run;
    int status = give_file(self, 0, run->fds[SPAWN_FD_TASK], err);
    if (status == 0)
        status = make_pipe(&self->output, &self->inside[1], err);
    if (status == 0)
        status = make_pipe(&self->third, &self->inside[3], err);
    if (status == 0)
        status = give_file(self, 4, step->read_fd, err);
    if (status == 0)
        status = give_file(self, 5, step->work_fd, err);
    if (status == 0)
        status = give_file(self, 6, step->feedback_fd, err);
    if (status < 0 || step->copy_to < 0)
        return status;
    int reader = -1;
    status = make_pipe(&reader, &self->inside[5], err);
    if (status < 0)
        return status;
    self->copy = copy_start(run->loop, reader, step->copy_to, step->copy_max, err);
    return self->copy ? 0 : err->code;
}

static void close_inside(struct running *self)
{
    for (int i = 0; i < SANDBOX_STEP_FDS; i++) {
        if (self->inside[i] >= 0)
            close(self->inside[i]);
        self->inside[i] = -1;
    }
}

static struct disk_size disk_size(const struct run *run)
{
    return (struct disk_size){run->request.limits.disk_bytes, run->request.limits.inodes};
}

static void on_disk_full(void *arg, const char *name)
{
    struct running *self = arg;
    struct run *run = self->run;
    struct disk_size size = disk_size(run);
    self->outcome->full = name;
    gateway_link_limit_hit(&run->gateway, run->phase, name,
                           strcmp(name, "inodes") ? size.bytes : disk_inodes(&size));
    if (sandbox_disk(self->sandbox) == SANDBOX_DISK_SOFT)
        sandbox_kill(self->sandbox);
}

static void on_ended(void *arg, const struct sandbox_result *result)
{
    struct running *self = arg;
    struct run *run = self->run;
    struct step_outcome *outcome = self->outcome;
    outcome->status = result->status;
    outcome->end = result->end;
    outcome->duration_ms = result->duration_ms;
    if (result->oom_kills)
        gateway_link_limit_hit(&run->gateway, run->phase, "memory",
                               run->request.limits.memory_bytes);
    if (result->pids_denied)
        gateway_link_limit_hit(&run->gateway, run->phase, "pids", run->request.limits.pids);
    if (result->end == SANDBOX_TIMED_OUT)
        gateway_link_limit_hit(&run->gateway, run->phase, "time", (uint64_t)self->step->timeout_ms);
    disk_watch_end(self->disk);
    self->disk = NULL;
    loop_remove(run->step_deadline);
    run->step_deadline = NULL;
    run->step = 0;
    self->ended = true;
}

static void stop_result(struct running *self)
{
    loop_remove(self->result_source);
    self->result_source = NULL;
}

static void on_result(void *arg, uint32_t events)
{
    struct running *self = arg;
    struct buf *result = &self->outcome->result;
    char chunk[4096];
    ssize_t n = read(self->third, chunk, sizeof chunk);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0 && buf_append(result, chunk, (size_t)n) == 0)
        return;
    if (n > 0) { /* too long: no result, rather than a part of one */
        log_warn(self->run->request.name.task, "result of %s is too long: dropped",
                 self->step->name);
        buf_clear(result);
    }
    stop_result(self);
}

/* Hand over what the step writes: its output, and what comes through its third descriptor. */
static int connect_outputs(struct running *self, struct err *err)
{
    struct run *run = self->run;
    gateway_link_stream(&run->gateway, run->phase, GATEWAY_STREAM_OUTPUT, steal_fd(&self->output));
    if (self->step->events) {
        gateway_link_stream(&run->gateway, run->phase, GATEWAY_STREAM_EVENTS,
                            steal_fd(&self->third));
        return 0;
    }
    self->result_source = loop_add_fd(run->loop, self->third, EPOLLIN, on_result, self, err);
    return self->result_source ? 0 : err->code;
}

static int start(struct running *self, struct sandbox *sandbox, struct err *err)
{
    const struct step *step = self->step;
    const char *const argv[] = {SANDBOX_AGENT, step->name, step->as_root ? "--as-root" : NULL,
                                NULL};
    struct sandbox_fd fds[SANDBOX_STEP_FDS];
    size_t count = 0;
    int status = open_descriptors(self, err);
    if (status < 0)
        return status;
    for (int to = 0; to < SANDBOX_STEP_FDS; to++)
        if (self->inside[to] >= 0)
            fds[count++] = (struct sandbox_fd){self->inside[to], to};
    fds[count++] = (struct sandbox_fd){self->inside[1], 2};
    status = connect_outputs(self, err);
    if (status < 0)
        return status;
    pid_t pid = sandbox_exec(sandbox,
                             &(struct sandbox_step){.profile = step->profile,
                                                    .argv = argv,
                                                    .cwd = SANDBOX_WORKSPACE,
                                                    .fds = fds,
                                                    .fds_count = count,
                                                    .timeout_ms = step->timeout_ms},
                             on_ended, self, err);
    if (pid < 0)
        return pid;
    struct disk_size size = disk_size(self->run);
    self->disk =
        disk_watch_start(self->run->loop, sandbox, &size, !step->saves, on_disk_full, self);
    self->run->step = pid;
    self->run->soft_stop = step->soft_stop;
    return 0;
}

static bool is_complete(const struct running *self)
{
    return gateway_link_is_drained(&self->run->gateway) && !self->result_source &&
           (!self->copy || copy_has_ended(self->copy));
}

static void on_lingered(void *arg)
{
    struct running *self = arg;
    self->linger = NULL;
    self->lingered = true;
    gateway_link_stop_streams(&self->run->gateway);
    stop_result(self);
}

/* Turn the loop until the step has ended and everything that it wrote has arrived. */
static int wait_for_end(struct running *self, struct err *err)
{
    struct run *run = self->run;
    while (!self->ended || !is_complete(self)) {
        if (run->gateway.broken && run->step > 0)
            kill(run->step, SIGKILL); /* nothing that it does will be told */
        if (self->ended && self->lingered && gateway_link_is_drained(&run->gateway))
            break; /* a pipe that is still held open is cut off */
        if (self->ended && !self->linger && !self->lingered)
            self->linger = loop_add_timer(run->loop, LINGER_MS, on_lingered, self);
        int status = loop_run_once(run->loop, -1, err);
        if (status < 0)
            return status;
    }
    return 0;
}

/* Everything that open_descriptors and start have taken, whatever became of them. */
static void finish(struct running *self)
{
    struct step_outcome *outcome = self->outcome;
    disk_watch_end(self->disk);
    loop_remove(self->linger);
    stop_result(self);
    close_inside(self);
    if (self->output >= 0)
        close(self->output);
    if (self->third >= 0)
        close(self->third);
    if (self->copy)
        outcome->copy_status = copy_finish(self->copy, &outcome->copied, &outcome->copy_err);
}

/* By somebody who has no part in this: we kill a step only when the run is stopped. */
static bool was_killed(const struct run *run, const struct step_outcome *outcome)
{
    return outcome->end == SANDBOX_SIGNALLED && outcome->status == 128 + SIGKILL &&
           run->stop == RUN_STOP_NONE && !outcome->full;
}

int step_run(struct run *run, struct sandbox *sandbox, const struct step *step,
             struct step_outcome *outcome)
{
    *outcome = (struct step_outcome){.status = -1, .copy_status = -EPIPE};
    buf_init(&outcome->result, STEP_RESULT_MAX);
    struct running self = {.run = run,
                           .step = step,
                           .outcome = outcome,
                           .sandbox = sandbox,
                           .output = -1,
                           .third = -1};
    for (int i = 0; i < SANDBOX_STEP_FDS; i++)
        self.inside[i] = -1;
    struct err err;
    int status = start(&self, sandbox, &err);
    close_inside(&self);
    if (status < 0) { /* nothing will ever come through the pipes that the gateway has */
        gateway_link_stop_streams(&run->gateway);
        self.ended = true;
    }
    struct err wait_err;
    if (wait_for_end(&self, &wait_err) < 0 && status == 0)
        status = err_set(&err, wait_err.code, "%s", wait_err.message);
    finish(&self);
    if (status < 0) {
        err_context(&err, "cannot run %s", step->name);
        return run_fail_by(run, &err);
    }
    if (run->gateway.broken)
        return run_fail(run, FAULT_PLATFORM, "%s", run->gateway.err.message);
    if (was_killed(run, outcome)) {
        err_set(&err, ERR_KILLED, "'codex-agent %s' was killed from outside", step->name);
        return run_lose(run, err.message);
    }
    return 0;
}
