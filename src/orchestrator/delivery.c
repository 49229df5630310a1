#include "orchestrator/delivery.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/refname.h"
#include "base/str.h"
#include "git/access.h"
#include "orchestrator/branch.h"
#include "orchestrator/bundle_index.h"
#include "orchestrator/files.h"
#include "orchestrator/repo.h"
#include "task/exit.h"

enum {
    IMPORT_TIMEOUT_MS = 10 * 60 * 1000,
    PUSH_TIMEOUT_MS = 5 * 60 * 1000,
    BRANCH_NUMBERS_MAX = 1000,
    UNREACHABLE_TRIES_MAX = 7, /* a minute in all */
};

static int64_t steal_pause(struct job *job)
{
    int64_t pause_ms = job->pause_ms;
    job->pause_ms = 0;
    return pause_ms;
}

void delivery_write(struct job *job, outcome_fn *fn, const void *arg)
{
    struct store *store = job->o->store;
    struct task task = {0};
    struct outbox row = {0};
    bool exists = false;
    struct err err = {0};
    int status = store_begin(store, STORE_NOW, &err);
    if (status == 0)
        status = store_task_load(store, job->number, &task, &err);
    if (status == 0)
        status = store_outbox_get(store, job->number, &row, &exists, &err);
    if (status == 0 && exists)
        status = fn(job, &task, &row, arg, &err);
    status = store_end(store, status, &err);
    outbox_release(&row);
    task_release(&task);
    if (status < 0)
        job_trouble(job, &err); /* the step is done once more: each can be */
    else if (job->pause_ms)
        job_continue_in(job, steal_pause(job));
    else
        job_continue(job);
}

int delivery_end(struct job *job, const struct task *task, enum task_state to, const char *reason,
                 const struct fault *fault, struct err *err)
{
    struct task_move move = {.number = task->number,
                             .fence = task->run,
                             .to = to,
                             .reason = reason,
                             .fault = fault->kind,
                             .fault_step = fault->step,
                             .fault_message = fault->message};
    return task_set_state(job->o->store, &move, err);
}

int delivery_fail(struct job *job, const struct task *task, const struct outbox *row,
                  enum fault_kind kind, char *message, struct err *err)
{
    AUTO_FREE char *owned = message;
    struct fault fault = {kind, (char *)"delivering", owned};
    int status = row->branch ? store_task_set_branch_number(job->o->store, task->number,
                                                            row->branch_number, err)
                             : 0;
    return status < 0 ? status : delivery_end(job, task, TASK_FAILED, NULL, &fault, err);
}

int delivery_try_again(struct job *job, const struct task *task, struct outbox *row, int tries_max,
                       struct err *err)
{
    if (++row->tries >= tries_max)
        return 0;
    /* A remote that is away stays so longer than a file: 1, 2, 4 … s. */
    job->pause_ms =
        tries_max > TRIES_MAX ? (int64_t)RETRY_MS << (row->tries - 1) : row->tries * RETRY_MS;
    int status = store_outbox_set(job->o->store, task->number, row, err);
    return status < 0 ? status : 1;
}

/* --- import: the sandbox's bundle becomes a clean one and a patch --- */

int delivery_choose_branch(struct orchestrator *o, const struct task *task, struct outbox *row,
                           int64_t from, struct err *err)
{
    for (int64_t n = from; n <= BRANCH_NUMBERS_MAX; n++) {
        free(row->branch);
        row->branch = branch_name(task, n);
        row->branch_number = n;
        if (task->branch_wanted)
            return 0;
        int taken =
            store_branch_taken(o->store, task->number, task->repo, row->branch, task->commit, err);
        if (taken <= 0)
            return taken;
    }
    return err_set(err, ERR_LIMIT, "no name is left for a branch like '%s'", row->branch);
}

static int imported(struct job *job, const struct task *task, struct outbox *row, const void *arg,
                    struct err *err)
{
    if (row->end_state != TASK_COMPLETED)
        return delivery_end(job, task, row->end_state, row->reason, &row->fault, err);
    static const struct fault none = {FAULT_NONE, NULL, NULL};
    if (task->cancel_requested)
        return delivery_end(job, task, TASK_CANCELLED, "cancelled on request", &none, err);
    /* The push is claimed with this: from here on a cancel is refused. */
    int status = delivery_choose_branch(job->o, task, row, 1, err);
    row->step = OUTBOX_PUSH;
    row->tries = 0;
    return status < 0 ? status : store_outbox_set(job->o->store, task->number, row, err);
}

static int not_imported(struct job *job, const struct task *task, struct outbox *row,
                        const void *arg, struct err *err)
{
    const struct git_result *result = arg;
    if (result->status < 0) {
        int again = delivery_try_again(job, task, row, TRIES_MAX, err);
        if (again)
            return again < 0 ? again : 0;
    }
    log_warn(task->id, "the work cannot be imported: %s", result->message);
    if (row->end_state != TASK_COMPLETED)
        return delivery_end(job, task, row->end_state, row->reason, &row->fault, err);
    return delivery_fail(
        job, task, row, FAULT_AGENT,
        str_format("the work cannot be taken out of the sandbox (%s): submit the task again",
                   result->message),
        err);
}

static void on_imported(void *arg, const struct git_result *result)
{
    struct job *job = arg;
    struct err err = {0};
    job->git = NULL;
    if (result->status != GIT_EXIT_DONE) {
        delivery_write(job, not_imported, result);
        return;
    }
    AUTO_FREE char *clean_new = orchestrator_task_file(job->o, job->id, "push.bundle.tmp");
    AUTO_FREE char *clean = orchestrator_task_file(job->o, job->id, "push.bundle");
    AUTO_FREE char *diff_new = orchestrator_task_file(job->o, job->id, "diff.patch.tmp");
    AUTO_FREE char *diff = orchestrator_task_file(job->o, job->id, "diff.patch");
    if (files_publish(clean_new, clean, &err) < 0 || files_publish(diff_new, diff, &err) < 0)
        job_trouble(job, &err);
    else
        delivery_write(job, imported, NULL);
}

static int start_import(struct job *job, const struct task *task, struct err *err)
{
    AUTO_FREE char *base = orchestrator_task_file(job->o, task->id, "base.bundle");
    AUTO_FREE char *work = files_work_bundle(job->o, task->id, task->work_run);
    AUTO_FREE char *clean = orchestrator_task_file(job->o, task->id, "push.bundle.tmp");
    AUTO_FREE char *diff = orchestrator_task_file(job->o, task->id, "diff.patch.tmp");
    AUTO_FD int base_fd = open(base, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (base_fd < 0)
        return err_errno(err, "cannot open '%s'", base);
    AUTO_FD int work_fd = open(work, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (work_fd < 0)
        return err_errno(err, "cannot open '%s'", work);
    AUTO_FD int clean_fd = files_create(clean, O_WRONLY, err);
    AUTO_FD int diff_fd = clean_fd < 0 ? -1 : files_create(diff, O_WRONLY, err);
    if (diff_fd < 0)
        return err->code;
    AUTO_FD int index_fd = bundle_index_open(job->o, task);
    bool indexed = index_fd >= 0;
    struct git_request request = {
        .args = {"import", "--commit", task->commit, "--base-commit", task->base_commit,
                 indexed ? "--base-index" : NULL, "7"},
        .timeout_ms = IMPORT_TIMEOUT_MS,
        .fds = {{base_fd, 3}, {work_fd, 4}, {clean_fd, 5}, {diff_fd, 6}, {index_fd, 7}},
        .fds_count = indexed ? 5 : 4,
    };
    job->git = git_start(job->o->git, &request, on_imported, job, err);
    return job->git ? 0 : err->code;
}

/* --- push --- */

static int pushed(struct job *job, const struct task *task, struct outbox *row, const void *arg,
                  struct err *err)
{
    /* Of a delivery that is tried again it may have been told already. */
    bool told = task->branch && !strcmp(task->branch, row->branch);
    AUTO_BUF struct buf members;
    buf_init(&members, 8192);
    buf_append_str(&members, ",\"branch\":");
    json_text_cstring(&members, row->branch);
    buf_append_str(&members, ",\"commit\":");
    json_text_cstring(&members, task->commit);
    struct store_event event = {.number = task->number,
                                .run = task->run,
                                .type = "delivery.branch",
                                .members = members.data};
    int status = told ? 0 : store_event_add(job->o->store, &event, err);
    if (status == 0)
        status = store_task_set_branch(job->o->store, task->number, row->branch, err);
    row->step = refname_is_branch(task->base) ? OUTBOX_BASE : OUTBOX_PULL_REQUEST;
    row->tries = 0;
    return status < 0 ? status : store_outbox_set(job->o->store, task->number, row, err);
}

static int not_pushed(struct job *job, const struct task *task, struct outbox *row, const void *arg,
                      struct err *err)
{
    const struct git_result *result = arg;
    if (result->status == GIT_EXIT_BRANCH_EXISTS && task->branch_wanted)
        return delivery_fail(
            job, task, row, FAULT_USER,
            str_format("branch '%s' has appeared meanwhile: remove it and try again with 'codex "
                       "deliver %s', or apply the work with 'codex apply'",
                       row->branch, task->id),
            err);
    if (result->status == GIT_EXIT_BRANCH_EXISTS) {
        int status = delivery_choose_branch(job->o, task, row, row->branch_number + 1, err);
        return status < 0 ? status : store_outbox_set(job->o->store, task->number, row, err);
    }
    if (result->status < 0 || result->status == GIT_EXIT_UNREACHABLE) {
        int again = delivery_try_again(job, task, row,
                                       result->status < 0 ? TRIES_MAX : UNREACHABLE_TRIES_MAX, err);
        if (again)
            return again < 0 ? again : 0;
    }
    return delivery_fail(
        job, task, row, result->status == GIT_EXIT_UNREACHABLE ? FAULT_ENVIRONMENT : FAULT_USER,
        str_format("the branch cannot be pushed (%s): put that right and try again with "
                   "'codex deliver %s', or apply the work with 'codex apply'",
                   result->message, task->id),
        err);
}

static void on_pushed(void *arg, const struct git_result *result)
{
    struct job *job = arg;
    job->git = NULL;
    if (result->status != GIT_EXIT_DONE)
        log_info(job->id, "not pushed: %s", result->message);
    delivery_write(job, result->status == GIT_EXIT_DONE ? pushed : not_pushed, result);
}

static int start_push(struct job *job, const struct task *task, const struct outbox *row,
                      struct err *err)
{
    AUTO_FREE char *clean = orchestrator_task_file(job->o, task->id, "push.bundle");
    AUTO_FD int fd = open(clean, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_errno(err, "cannot open '%s'", clean);
    AUTO_FREE char *extra = orchestrator_task_file(job->o, task->id, "extra.bundle");
    AUTO_FD int extra_fd = task->base_known ? open(extra, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (task->base_known && extra_fd < 0)
        return err_errno(err, "cannot open '%s'", extra);
    struct repo_request request;
    int status =
        repo_request_open(&request, job->o, "push", task->repo, task->uid, PUSH_TIMEOUT_MS, err);
    if (status == 0) {
        repo_request_add(&request, "--commit", task->commit);
        repo_request_add(&request, "--branch", row->branch);
        repo_request_fd(&request, fd, repo_is_remote(task->repo) ? REMOTE_FD_BUNDLE : 3);
        if (task->base_known) {
            repo_request_add(&request, "--base-commit", task->base_known);
            repo_request_fd(&request, extra_fd, REMOTE_FD_EXTRA);
        }
        job->git = git_start(job->o->git, &request.git, on_pushed, job, err);
        status = job->git ? 0 : err->code;
    }
    repo_request_close(&request);
    return status;
}

/* A file that the step needs is not there: lost in a power cut, or removed by somebody. The push's
 * are made again by the import. */
static int file_missing(struct job *job, const struct task *task, struct outbox *row,
                        const void *arg, struct err *err)
{
    const struct err *why = arg;
    row->step = OUTBOX_IMPORT;
    int again = delivery_try_again(job, task, row, TRIES_MAX, err);
    if (again)
        return again < 0 ? again : 0;
    if (row->end_state != TASK_COMPLETED)
        return delivery_end(job, task, row->end_state, row->reason, &row->fault, err);
    return delivery_fail(
        job, task, row, FAULT_PLATFORM,
        str_format("a file of the task is gone (%s): submit it again", why->message), err);
}

void delivery_continue(struct job *job, const struct task *task, const struct outbox *row)
{
    struct err err = {0};
    int status = 0;
    if (row->step == OUTBOX_IMPORT)
        status = start_import(job, task, &err);
    else if (row->step == OUTBOX_PUSH)
        status = start_push(job, task, row, &err);
    else if (row->step == OUTBOX_BASE)
        delivery_look_at_base(job, task);
    else
        status = delivery_open_request(job, task, &err);
    if (status == -ENOENT)
        delivery_write(job, file_missing, &err);
    else if (status < 0)
        job_trouble(job, &err);
}
