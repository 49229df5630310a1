#include "orchestrator/git.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "task/exit.h"

enum {
    MESSAGE_MAX = 4096,
    GRACE_MS = 3000, /* past its timeout, which the spawner enforces */
};

/* One of its pipes: read as it fills, so that the writer never waits. */
struct capture {
    int fd;
    struct loop_source *source;
    struct buf bytes;
};

struct git_job {
    struct git *git;
    uint32_t id;
    struct capture output, errors;
    struct loop_source *timer;
    git_done_fn *done;
    void *arg;
    struct git_job *next;
};

struct git {
    struct loop *loop;
    struct spawner *spawner;
    uint32_t last_id;
    struct git_job *jobs;
};

static void on_report(void *arg, enum spawn_type type, const struct spawn_report *report);

struct git *git_new(struct loop *loop, struct spawner *spawner)
{
    struct git *git = calloc(1, sizeof *git);
    if (!git)
        abort();
    *git = (struct git){.loop = loop, .spawner = spawner};
    spawner_on_git(spawner, on_report, git);
    return git;
}

static void capture_release(struct capture *capture)
{
    loop_remove(capture->source);
    if (capture->fd >= 0)
        close(capture->fd);
    buf_release(&capture->bytes);
}

static void job_free(struct git_job *job)
{
    struct git_job **at = &job->git->jobs;
    while (*at && *at != job)
        at = &(*at)->next;
    if (*at)
        *at = job->next;
    loop_remove(job->timer);
    capture_release(&job->output);
    capture_release(&job->errors);
    free(job);
}

void git_free(struct git *git)
{
    if (!git)
        return;
    while (git->jobs)
        job_free(git->jobs);
    free(git);
}

/* Read what is there; what passes the bound is dropped. */
static void drain(struct capture *capture)
{
    char chunk[4096];
    ssize_t n;
    while (capture->fd >= 0 && (n = read(capture->fd, chunk, sizeof chunk)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return;
        size_t room = capture->bytes.max - capture->bytes.len;
        buf_append(&capture->bytes, chunk, (size_t)n < room ? (size_t)n : room);
    }
    loop_remove(capture->source);
    capture->source = NULL;
}

static void on_readable(void *arg, uint32_t events)
{
    drain(arg);
}

/* The reading end goes to CAPTURE, the writing end is returned. */
static int capture_open(struct git_job *job, struct capture *capture, size_t max, struct err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_errno(err, "cannot create a pipe");
    io_set_nonblocking(ends[0], true);
    capture->fd = ends[0];
    buf_init(&capture->bytes, max);
    capture->source = loop_add_fd(job->git->loop, ends[0], EPOLLIN, on_readable, capture, err);
    if (capture->source)
        return ends[1];
    close(ends[1]);
    return err->code;
}

static void finish(struct git_job *job, int status, const char *message)
{
    drain(&job->output);
    drain(&job->errors);
    AUTO_FREE char *output = buf_steal(&job->output.bytes, NULL);
    AUTO_FREE char *errors = buf_steal(&job->errors.bytes, NULL);
    size_t len = strcspn(errors, "\n");
    errors[len] = '\0';
    /* "codex-git: cannot …": who says so does not matter to a reader. */
    const char *said =
        errors + (str_starts_with(errors, "codex-git: ") ? strlen("codex-git: ") : 0);
    struct git_result result = {.status = status,
                                .output = output,
                                .message = status == GIT_EXIT_DONE ? ""
                                           : *message              ? message
                                           : *said                 ? said
                                                                   : "git failed"};
    git_done_fn *done = job->done;
    void *arg = job->arg;
    job_free(job);
    done(arg, &result);
}

static void on_timeout(void *arg)
{
    struct git_job *job = arg;
    job->timer = NULL;
    struct spawn_message end = {.type = SPAWN_GIT_END, .body.git.id = job->id};
    spawner_send(job->git->spawner, &end, NULL, 0, NULL);
    finish(job, -1, "git took too long");
}

static void on_report(void *arg, enum spawn_type type, const struct spawn_report *report)
{
    struct git *git = arg;
    struct git_job *job = git->jobs;
    while (job && job->id != report->id)
        job = job->next;
    if (!job)
        return; /* dropped in the meantime */
    if (type == SPAWN_FAILED) {
        /* As root's submission is handled by the repository's owner, the spawner looks at it
         * first. */
        int status = report->wait_status == -ENOENT || report->wait_status == -ENOTDIR
                         ? GIT_EXIT_NOT_FOUND
                         : -1;
        char message[600];
        snprintf(message, sizeof message, "%s%s", status < 0 ? "git could not be started: " : "",
                 report->message);
        finish(job, status, message);
    } else if (WIFEXITED(report->wait_status)) {
        finish(job, WEXITSTATUS(report->wait_status), "");
    } else {
        finish(job, -1, "git was ended before it was done");
    }
}

/* The arguments, one after the other, each with its NUL. */
static int pack_args(struct spawn_git *out, const char *const *args, struct err *err)
{
    size_t used = 0;
    for (size_t i = 0; i < GIT_ARGS_MAX && args[i]; i++) {
        size_t len = strlen(args[i]) + 1;
        if (used + len > sizeof out->args)
            return err_set(err, ERR_LIMIT, "the arguments for git are too long");
        memcpy(out->args + used, args[i], len);
        used += len;
        out->argc++;
    }
    return 0;
}

static int fill_request(struct spawn_git *out, const struct git_request *request, struct err *err)
{
    out->as = request->remote       ? SPAWN_GIT_REMOTE
              : request->repository ? SPAWN_GIT_AS_SUBMITTER
                                    : SPAWN_GIT_ISOLATED;
    out->uid = request->remote ? geteuid() : request->uid;
    out->timeout_ms = request->timeout_ms;
    if (request->repository && snprintf(out->repository, sizeof out->repository, "%s",
                                        request->repository) >= (int)sizeof out->repository)
        return err_set(err, ERR_LIMIT, "the path of the repository is too long");
    return pack_args(out, request->args, err);
}

static int send_request(struct git_job *job, const struct git_request *request, struct err *err)
{
    struct spawn_message message = {.type = SPAWN_GIT, .body.git.id = job->id};
    struct spawn_git *git = &message.body.git;
    int fds[SPAWN_GIT_FDS_MAX];
    AUTO_FD int output = -1;
    int status = fill_request(git, request, err);
    if (status < 0)
        return status;
    AUTO_FD int errors = capture_open(job, &job->errors, MESSAGE_MAX, err);
    if (errors < 0)
        return errors;
    fds[git->fds_count] = errors;
    git->fd_numbers[git->fds_count++] = 2;
    if (!request->no_output) {
        output = capture_open(job, &job->output, GIT_OUTPUT_MAX, err);
        if (output < 0)
            return output;
        fds[git->fds_count] = output;
        git->fd_numbers[git->fds_count++] = request->output_number ? request->output_number : 1;
    }
    for (size_t i = 0; i < request->fds_count; i++) {
        fds[git->fds_count] = request->fds[i].fd;
        git->fd_numbers[git->fds_count++] = request->fds[i].number;
    }
    return spawner_send(job->git->spawner, &message, fds, git->fds_count, err);
}

struct git_job *git_start(struct git *git, const struct git_request *request, git_done_fn *done,
                          void *arg, struct err *err)
{
    struct git_job *job = calloc(1, sizeof *job);
    if (!job)
        abort();
    *job = (struct git_job){.git = git,
                            .id = ++git->last_id,
                            .output.fd = -1,
                            .errors.fd = -1,
                            .done = done,
                            .arg = arg,
                            .next = git->jobs};
    buf_init(&job->output.bytes, 0);
    buf_init(&job->errors.bytes, 0);
    git->jobs = job;
    if (send_request(job, request, err) < 0) {
        job_free(job);
        return NULL;
    }
    job->timer = loop_add_timer(git->loop, request->timeout_ms + GRACE_MS, on_timeout, job);
    return job;
}

void git_drop(struct git_job *job)
{
    if (!job)
        return;
    struct spawn_message end = {.type = SPAWN_GIT_END, .body.git.id = job->id};
    spawner_send(job->git->spawner, &end, NULL, 0, NULL);
    job_free(job);
}
