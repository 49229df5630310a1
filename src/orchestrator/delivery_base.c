#include "orchestrator/delivery.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/object_id.h"
#include "base/str.h"
#include "git/access.h"
#include "orchestrator/bundle_index.h"
#include "orchestrator/files.h"
#include "orchestrator/repo.h"
#include "task/exit.h"

enum { LOOK_TIMEOUT_MS = 60 * 1000, MERGE_TIMEOUT_MS = 2 * 60 * 1000 };

/* What is known so far. */
struct base_look {
    struct base_moved moved;
    char work[OBJECT_ID_SIZE]; /* the task's commit */
    int index_fd;              /* of its base bundle, or -1 */
};

void delivery_free_look(struct job *job)
{
    struct base_look *look = job->look;
    job->look = NULL;
    if (!look)
        return;
    free(look->moved.commit);
    if (look->index_fd >= 0)
        close(look->index_fd);
    free(look);
}

static int looked(struct job *job, const struct task *task, struct outbox *row, const void *arg,
                  struct err *err)
{
    const struct base_moved *moved = arg;
    int status = store_task_set_base_moved(job->o->store, task->number, moved, err);
    AUTO_BUF struct buf members;
    buf_init(&members, 8192);
    buf_append_str(&members, ",\"base\":");
    json_text_cstring(&members, task->base);
    buf_append_str(&members, ",\"base_moved\":");
    if (base_moved_to_json(moved, &members) < 0)
        abort(); /* a name, an id and two numbers */
    struct store_event event = {.number = task->number,
                                .run = task->run,
                                .type = "delivery.base_moved",
                                .members = members.data};
    if (status == 0 && moved->commit)
        status = store_event_add(job->o->store, &event, err);
    row->step = OUTBOX_PULL_REQUEST;
    row->tries = 0;
    return status < 0 ? status : store_outbox_set(job->o->store, task->number, row, err);
}

/* The look is over. */
static void finish(struct job *job)
{
    struct base_look *look = job->look;
    const struct base_moved moved = look->moved;
    look->moved.commit = NULL;
    delivery_free_look(job);
    delivery_write(job, looked, &moved);
    free(moved.commit);
}

static void on_merged(void *arg, const struct git_result *result)
{
    struct job *job = arg;
    job->git = NULL;
    if (result->status != GIT_EXIT_DONE)
        log_info(job->id, "cannot try to merge: %s", result->message);
    else
        job->look->moved.conflicts = !strcmp(result->output, "conflicts yes\n")  ? 1
                                     : !strcmp(result->output, "conflicts no\n") ? 0
                                                                                 : -1;
    finish(job);
}

/* With the bundle that the look brought. */
static int start_merge(struct job *job, struct err *err)
{
    static const char *const names[] = {"base.bundle", "push.bundle", "moved.tmp"};
    struct git_request request = {.args = {"merge", "--commit", job->look->work},
                                  .timeout_ms = MERGE_TIMEOUT_MS};
    int index_fd = job->look->index_fd;
    if (index_fd >= 0) {
        request.args[3] = "--base-index";
        request.args[4] = "6";
        request.fds[request.fds_count++] = (struct git_fd){index_fd, 6};
    }
    int fds[] = {-1, -1, -1}, status = 0;
    for (size_t i = 0; status == 0 && i < 3; i++) {
        AUTO_FREE char *path = orchestrator_task_file(job->o, job->id, names[i]);
        fds[i] = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fds[i] < 0)
            status = err_errno(err, "cannot open '%s'", path);
        request.fds[request.fds_count++] = (struct git_fd){fds[i], (uint8_t)(3 + i)};
    }
    if (status == 0) {
        job->git = git_start(job->o->git, &request, on_merged, job, err);
        status = job->git ? 0 : err->code;
    }
    for (size_t i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return status;
}

/* "commit SHA" and "behind N", which is no move when N is 0. */
static int read_answer(const char *output, struct base_moved *moved, struct err *err)
{
    static const char first[] = "commit ", second[] = "behind ";
    AUTO_FREE char *text = str_dup(output);
    char *rest = text, *commit = strsep(&rest, "\n"), *behind = strsep(&rest, "\n");
    if (!behind || !rest || *rest || !str_starts_with(commit, first) ||
        !str_starts_with(behind, second) || !object_id_valid(commit + sizeof first - 1) ||
        str_parse_int(behind + sizeof second - 1, 0, INT64_MAX, &moved->behind) < 0)
        return err_set(err, ERR_PROTOCOL, "codex-git moved: an answer that makes no sense");
    if (moved->behind)
        moved->commit = str_dup(commit + sizeof first - 1);
    return 0;
}

static void on_looked(void *arg, const struct git_result *result)
{
    struct job *job = arg;
    struct base_moved *moved = &job->look->moved;
    struct err err = {0};
    job->git = NULL;
    if (result->status != GIT_EXIT_DONE)
        log_info(job->id, "cannot see whether the base has moved: %s", result->message);
    else if (read_answer(result->output, moved, &err) < 0)
        log_error(job->id, "%s", err.message);
    int status = moved->commit ? start_merge(job, &err) : -ENOENT;
    if (status ==
        -ENOENT) /* of a delivery that is tried again: its base bundle is no longer kept */
        finish(job);
    else if (status < 0)
        job_trouble(job, &err);
}

/* 1: the remote cannot be asked. */
static int start_look(struct job *job, const struct task *task, struct err *err)
{
    AUTO_FREE char *path = orchestrator_task_file(job->o, task->id, "moved.tmp");
    AUTO_FD int fd = files_create(path, O_WRONLY, err);
    if (fd < 0)
        return fd;
    struct repo_request request;
    int status =
        repo_request_open(&request, job->o, "moved", task->repo, task->uid, LOOK_TIMEOUT_MS, err);
    if (status < 0) {
        log_info(task->id, "cannot see whether the base has moved: %s", err->message);
        status = 1;
    } else {
        repo_request_add(&request, "--base", task->base);
        repo_request_add(&request, "--base-commit",
                         task->base_known ? task->base_known : task->base_commit);
        repo_request_add(&request, "--commit", task->base_commit);
        repo_request_fd(&request, fd, repo_is_remote(task->repo) ? REMOTE_FD_BUNDLE : 3);
        job->git = git_start(job->o->git, &request.git, on_looked, job, err);
        status = job->git ? 0 : err->code;
    }
    repo_request_close(&request);
    return status;
}

/* Of a delivery that is tried again: the shared bundle, if there still is one. */
static void restore_base(struct job *job, const struct task *task)
{
    struct err ignored;
    AUTO_FREE char *key = files_bundle_key(job->o, task->uid, task->repo, task->base_commit);
    if (!task->base_known)
        files_link_bundle(job->o, key, task->id, "base.bundle", &ignored);
}

void delivery_look_at_base(struct job *job, const struct task *task)
{
    struct err err = {0};
    delivery_free_look(job);
    job->look = calloc(1, sizeof *job->look);
    if (!job->look)
        abort();
    job->look->moved.conflicts = -1;
    job->look->index_fd = bundle_index_open(job->o, task);
    restore_base(job, task);
    memcpy(job->look->work, task->commit, sizeof job->look->work);
    int status = start_look(job, task, &err);
    if (status > 0)
        finish(job);
    else if (status < 0)
        job_trouble(job, &err);
}
