#include "agent/tools/patch_run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/tools/patch_child.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"

enum {
    TIMEOUT_MS = 60000,
    STOP_MS = 400,
    READ_BYTES = 65536,
};

struct patch_run {
    const struct tool_host *host;
    char *directory; /* where relative paths begin; NULL: the workdir, and they are told as such */
    patch_run_fn *done;
    void *arg;
    pid_t pid;
    int fd;
    int wait_status;
    struct buf report;
    struct loop_source *io, *child, *timeout;
};

/* The next frame of REPORT at *AT; false at its end. */
static bool next_frame(const struct buf *report, size_t *at, struct patch_frame *frame,
                       const char **bytes)
{
    if (report->len - *at < sizeof *frame)
        return false;
    memcpy(frame, report->data + *at, sizeof *frame);
    if (report->len - *at - sizeof *frame < frame->len)
        return false;
    *bytes = report->data + *at + sizeof *frame;
    *at += sizeof *frame + frame->len;
    return true;
}

static char *event_path(const struct patch_run *run, const char *path, size_t len)
{
    if (!run->directory || *path == '/')
        return str_format("%.*s", (int)len, path);
    return str_format("%s/%.*s", run->directory, (int)len, path);
}

static void report_changes(const struct patch_run *run, bool ok)
{
    struct event_change *changes = NULL;
    size_t count = 0, room = 0, at = 0;
    struct patch_frame frame;
    const char *bytes;
    while (next_frame(&run->report, &at, &frame, &bytes)) {
        const char *kind = frame.type == 'A'   ? "add"
                           : frame.type == 'D' ? "delete"
                           : frame.type == 'M' ? "update"
                                               : NULL;
        if (!kind)
            continue;
        if (count == room) {
            room = room ? room * 2 : 16;
            changes = realloc(changes, room * sizeof *changes);
            if (!changes)
                abort();
        }
        changes[count++] = (struct event_change){event_path(run, bytes, frame.len), kind};
    }
    char id[EVENTS_ID_SIZE];
    events_item_id(run->host->events, id);
    events_file_change(run->host->events, EVENT_COMPLETED, id, changes, count,
                       ok ? "completed" : "failed");
    for (size_t i = 0; i < count; i++)
        free((char *)changes[i].path);
    free(changes);
}

/* The last frame, or what to say when there is none. */
static bool result(const struct patch_run *run, const char **text, size_t *len, char *fallback,
                   size_t fallback_size)
{
    size_t at = 0;
    struct patch_frame frame;
    while (next_frame(&run->report, &at, &frame, text)) {
        *len = frame.len;
        if (frame.type == PATCH_FRAME_OK || frame.type == PATCH_FRAME_FAILED)
            return frame.type == PATCH_FRAME_OK;
    }
    if (WIFSIGNALED(run->wait_status))
        snprintf(fallback, fallback_size,
                 "apply_patch was ended by signal %d; look at the files before you go on\n",
                 WTERMSIG(run->wait_status));
    else
        snprintf(fallback, fallback_size, "apply_patch ended with status %d\n",
                 WEXITSTATUS(run->wait_status));
    *text = fallback;
    *len = strlen(fallback);
    return false;
}

static void kill_child(struct patch_run *run)
{
    if (run->child)
        kill(run->pid, SIGKILL);
}

static void finish_when_over(struct patch_run *run)
{
    if (run->io || run->child)
        return;
    char fallback[128];
    const char *text;
    size_t len;
    bool ok = result(run, &text, &len, fallback, sizeof fallback);
    report_changes(run, ok);
    run->done(run->arg, ok, text, len);
    patch_run_free(run);
}

static void on_report(void *arg, uint32_t events)
{
    struct patch_run *run = arg;
    char *room = buf_reserve(&run->report, READ_BYTES);
    ssize_t n = room ? read(run->fd, room, READ_BYTES) : -1;
    if (n > 0)
        buf_wrote(&run->report, (size_t)n);
    if (n > 0 || (room && n < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    if (!room)
        kill_child(run);
    loop_remove(run->io);
    run->io = NULL;
    finish_when_over(run);
}

static void on_child(void *arg, pid_t pid, int wait_status)
{
    struct patch_run *run = arg;
    run->child = NULL;
    run->wait_status = wait_status;
    finish_when_over(run);
}

static void on_timeout(void *arg)
{
    struct patch_run *run = arg;
    run->timeout = NULL;
    kill_child(run);
}

static int fork_child(struct patch_run *run, const char *base, struct slice patch, struct err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_errno(err, "cannot create a pipe");
    run->fd = ends[0];
    io_set_nonblocking(run->fd, true);
    run->pid = fork();
    if (run->pid == 0)
        patch_child(run->host, base, patch, ends[1]);
    int status = run->pid < 0 ? err_errno(err, "cannot fork") : 0;
    close(ends[1]);
    return status;
}

static int watch(struct patch_run *run, struct err *err)
{
    struct loop *loop = run->host->loop;
    run->io = loop_add_fd(loop, run->fd, EPOLLIN, on_report, run, err);
    run->child = run->io ? loop_add_child(loop, run->pid, on_child, run, err) : NULL;
    if (!run->child) {
        kill(run->pid, SIGKILL);
        waitpid(run->pid, NULL, 0);
        return -1;
    }
    run->timeout = loop_add_timer(loop, TIMEOUT_MS, on_timeout, run);
    return 0;
}

struct patch_run *patch_run_start(const struct tool_host *host, struct slice directory,
                                  struct slice patch, patch_run_fn *done, void *arg,
                                  struct err *err)
{
    struct patch_run *run = calloc(1, sizeof *run);
    if (!run)
        abort();
    *run = (struct patch_run){.host = host, .done = done, .arg = arg, .fd = -1};
    buf_init(&run->report, PATCH_REPORT_MAX_BYTES + READ_BYTES);
    if (directory.at)
        run->directory = str_format("%.*s", (int)directory.len, directory.at);
    const char *base = run->directory ? run->directory : host->workdir;
    if (fork_child(run, base, patch, err) == 0 && watch(run, err) == 0)
        return run;
    patch_run_free(run);
    return NULL;
}

void patch_run_stop(struct patch_run *run)
{
    loop_remove(run->timeout);
    run->timeout = loop_add_timer(run->host->loop, STOP_MS, on_timeout, run);
}

void patch_run_free(struct patch_run *run)
{
    if (!run)
        return;
    loop_remove(run->io);
    loop_remove(run->child);
    loop_remove(run->timeout);
    if (run->fd >= 0)
        close(run->fd);
    buf_release(&run->report);
    free(run->directory);
    free(run);
}
