#include "orchestrator/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/str.h"
#include "orchestrator/branch.h"
#include "orchestrator/files.h"
#include "task/exit.h"

enum {
    IMPORT_TIMEOUT_MS = 10 * 60 * 1000,
    PUSH_TIMEOUT_MS = 5 * 60 * 1000,
    BRANCH_NUMBERS_MAX = 1000,
};

/* A step's outcome, written in one transaction with what follows from it. */
typedef int outcome_fn(struct job *job, const struct task *task, struct outbox *row,
                       const void *arg, struct err *err);

static int64_t steal_pause(struct job *job)
{
    int64_t pause_ms = job->pause_ms;
    job->pause_ms = 0;
    return pause_ms;
}

/* Read task and row again (they may have changed while the step ran), let FN write, go on. */
static void write_outcome(struct job *job, outcome_fn *fn, const void *arg)
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

static int end_as(struct job *job, const struct task *task, enum task_state to, const char *reason,
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

/* Failed in delivering; what was done is kept as a patch. Takes MESSAGE over. */
static int fail(struct job *job, const struct task *task, enum fault_kind kind, char *message,
                struct err *err)
{
    AUTO_FREE char *owned = message;
    struct fault fault = {kind, (char *)"delivering", owned};
    return end_as(job, task, TASK_FAILED, NULL, &fault, err);
}

/* The step neither succeeded nor failed for good: 1 when it is to be tried again, after a pause. */
static int try_again(struct job *job, const struct task *task, struct outbox *row, struct err *err)
{
    if (++row->tries >= TRIES_MAX)
        return 0;
    job->pause_ms = row->tries * RETRY_MS;
    int status = store_outbox_set(job->o->store, task->number, row, err);
    return status < 0 ? status : 1;
}

/* --- import: the sandbox's bundle becomes a clean one and a patch --- */

/* The first choice of a name, from FROM on, that no other task is using. */
static int choose_branch(struct job *job, const struct task *task, struct outbox *row, int64_t from,
                         struct err *err)
{
    for (int64_t n = from; n <= BRANCH_NUMBERS_MAX; n++) {
        free(row->branch);
        row->branch = branch_name(task, n);
        row->branch_number = n;
        if (task->branch_wanted)
            return 0;
        int taken = store_branch_taken(job->o->store, task->number, task->repo, row->branch,
                                       task->commit, err);
        if (taken <= 0)
            return taken;
    }
    return err_set(err, ERR_LIMIT, "no name is left for a branch like '%s'", row->branch);
}

static int imported(struct job *job, const struct task *task, struct outbox *row, const void *arg,
                    struct err *err)
{
    if (row->end_state != TASK_COMPLETED)
        return end_as(job, task, row->end_state, row->reason, &row->fault, err);
    static const struct fault none = {FAULT_NONE, NULL, NULL};
    if (task->cancel_requested)
        return end_as(job, task, TASK_CANCELLED, "cancelled on request", &none, err);
    /* The push is claimed with this: from here on a cancel is refused. */
    int status = choose_branch(job, task, row, 1, err);
    row->step = OUTBOX_PUSH;
    row->tries = 0;
    return status < 0 ? status : store_outbox_set(job->o->store, task->number, row, err);
}

static int not_imported(struct job *job, const struct task *task, struct outbox *row,
                        const void *arg, struct err *err)
{
    const struct git_result *result = arg;
    if (result->status < 0) {
        int again = try_again(job, task, row, err);
        if (again)
            return again < 0 ? again : 0;
    }
    log_warn(task->id, "the work cannot be imported: %s", result->message);
    if (row->end_state != TASK_COMPLETED)
        return end_as(job, task, row->end_state, row->reason, &row->fault, err);
    return fail(
        job, task, FAULT_AGENT,
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
        write_outcome(job, not_imported, result);
        return;
    }
    AUTO_FREE char *clean_new = orchestrator_task_file(job->o, job->id, "push.bundle.tmp");
    AUTO_FREE char *clean = orchestrator_task_file(job->o, job->id, "push.bundle");
    AUTO_FREE char *diff_new = orchestrator_task_file(job->o, job->id, "diff.patch.tmp");
    AUTO_FREE char *diff = orchestrator_task_file(job->o, job->id, "diff.patch");
    if (files_publish(clean_new, clean, &err) < 0 || files_publish(diff_new, diff, &err) < 0)
        job_trouble(job, &err);
    else
        write_outcome(job, imported, NULL);
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
    struct git_request request = {
        .args = {"import", "--commit", task->commit, "--base-commit", task->base_commit},
        .timeout_ms = IMPORT_TIMEOUT_MS,
        .fds = {{base_fd, 3}, {work_fd, 4}, {clean_fd, 5}, {diff_fd, 6}},
        .fds_count = 4,
    };
    job->git = git_start(job->o->git, &request, on_imported, job, err);
    return job->git ? 0 : err->code;
}

/* --- push --- */

static int pushed(struct job *job, const struct task *task, struct outbox *row, const void *arg,
                  struct err *err)
{
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
    int status = store_event_add(job->o->store, &event, err);
    if (status == 0)
        status = store_task_set_branch(job->o->store, task->number, row->branch, err);
    row->step = OUTBOX_PULL_REQUEST;
    row->tries = 0;
    return status < 0 ? status : store_outbox_set(job->o->store, task->number, row, err);
}

static int not_pushed(struct job *job, const struct task *task, struct outbox *row, const void *arg,
                      struct err *err)
{
    const struct git_result *result = arg;
    if (result->status == GIT_EXIT_BRANCH_EXISTS && task->branch_wanted)
        return fail(
            job, task, FAULT_USER,
            str_format("branch '%s' has appeared meanwhile: apply the work with 'codex apply %s'",
                       row->branch, task->id),
            err);
    if (result->status == GIT_EXIT_BRANCH_EXISTS) {
        int status = choose_branch(job, task, row, row->branch_number + 1, err);
        return status < 0 ? status : store_outbox_set(job->o->store, task->number, row, err);
    }
    if (result->status < 0) {
        int again = try_again(job, task, row, err);
        if (again)
            return again < 0 ? again : 0;
    }
    return fail(job, task, FAULT_USER,
                str_format("the branch cannot be pushed (%s): apply the work with 'codex apply %s'",
                           result->message, task->id),
                err);
}

static void on_pushed(void *arg, const struct git_result *result)
{
    struct job *job = arg;
    job->git = NULL;
    if (result->status != GIT_EXIT_DONE)
        log_info(job->id, "not pushed: %s", result->message);
    write_outcome(job, result->status == GIT_EXIT_DONE ? pushed : not_pushed, result);
}

static int start_push(struct job *job, const struct task *task, const struct outbox *row,
                      struct err *err)
{
    AUTO_FREE char *clean = orchestrator_task_file(job->o, task->id, "push.bundle");
    AUTO_FD int fd = open(clean, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_errno(err, "cannot open '%s'", clean);
    struct git_request request = {
        .args = {"push", "--repo", task->repo, "--commit", task->commit, "--branch", row->branch},
        .repository = task->repo,
        .uid = task->uid,
        .timeout_ms = PUSH_TIMEOUT_MS,
        .fds = {{fd, 3}},
        .fds_count = 1,
    };
    job->git = git_start(job->o->git, &request, on_pushed, job, err);
    return job->git ? 0 : err->code;
}

/* --- pull request --- */

static int opened(struct job *job, const struct task *task, struct outbox *row, const void *arg,
                  struct err *err)
{
    struct pull_request request = *(const struct pull_request *)arg;
    int status = store_pull_request_add(job->o->store, task->number, task->repo, &request, err);
    AUTO_BUF struct buf members;
    buf_init(&members, 2 << 20);
    buf_append_str(&members, ",\"pull_request\":");
    if (pull_request_to_json(&request, &members) < 0)
        abort(); /* its title and body are bounded far below that */
    struct store_event event = {.number = task->number,
                                .run = task->run,
                                .type = "delivery.pull_request",
                                .members = members.data};
    if (status == 0)
        status = store_event_add(job->o->store, &event, err);
    static const struct fault none = {FAULT_NONE, NULL, NULL};
    return status < 0 ? status : end_as(job, task, TASK_COMPLETED, NULL, &none, err);
}

/* What the answer of the forge is for. */
struct opening {
    struct job *job;
    struct pull_request request;
};

static void on_opened(void *arg, const char *url, int64_t number, const struct err *err)
{
    struct opening *opening = arg;
    struct job *job = opening->job;
    job->forge = false;
    if (err && err->code) {
        job_trouble(job, err);
    } else {
        opening->request.url = str_dup(url);
        opening->request.number = number;
        write_outcome(job, opened, &opening->request);
    }
    pull_request_release(&opening->request);
    free(opening);
}

static void open_pull_request(struct job *job, const struct task *task)
{
    struct opening *opening = calloc(1, sizeof *opening);
    if (!opening)
        abort();
    *opening = (struct opening){
        .job = job,
        .request = {.exists = true,
                    .forge = str_dup(job->o->forge.name),
                    .state = str_dup("open"),
                    .draft = verdict_is_draft(task->verdict, &task->changes),
                    .title = pull_request_title(task, task->verdict),
                    .body = pull_request_body(task, task->verdict)},
    };
    job->forge = true;
    job->o->forge.open(&job->o->forge, task, &opening->request, on_opened, opening);
}

/* A file that the step needs is not there: lost in a power cut, or removed by somebody. The push's
 * are made again by the import. */
static int file_missing(struct job *job, const struct task *task, struct outbox *row,
                        const void *arg, struct err *err)
{
    const struct err *why = arg;
    row->step = OUTBOX_IMPORT;
    int again = try_again(job, task, row, err);
    if (again)
        return again < 0 ? again : 0;
    if (row->end_state != TASK_COMPLETED)
        return end_as(job, task, row->end_state, row->reason, &row->fault, err);
    return fail(job, task, FAULT_PLATFORM,
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
    else
        open_pull_request(job, task);
    if (status == -ENOENT)
        write_outcome(job, file_missing, &err);
    else if (status < 0)
        job_trouble(job, &err);
}
