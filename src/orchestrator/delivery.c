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
    FORGE_TRIES_MAX = 7,
    FORGE_WAIT_MAX_MS = 15 * 60 * 1000, /* of what a forge asks us to wait */
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
static int try_again(struct job *job, const struct task *task, struct outbox *row, int tries_max,
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
        return end_as(job, task, row->end_state, row->reason, &row->fault, err);
    static const struct fault none = {FAULT_NONE, NULL, NULL};
    if (task->cancel_requested)
        return end_as(job, task, TASK_CANCELLED, "cancelled on request", &none, err);
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
        int again = try_again(job, task, row, TRIES_MAX, err);
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
            str_format("branch '%s' has appeared meanwhile: remove it and try again with 'codex "
                       "deliver %s', or apply the work with 'codex apply'",
                       row->branch, task->id),
            err);
    if (result->status == GIT_EXIT_BRANCH_EXISTS) {
        int status = delivery_choose_branch(job->o, task, row, row->branch_number + 1, err);
        return status < 0 ? status : store_outbox_set(job->o->store, task->number, row, err);
    }
    if (result->status < 0 || result->status == GIT_EXIT_UNREACHABLE) {
        int again =
            try_again(job, task, row, result->status < 0 ? TRIES_MAX : UNREACHABLE_TRIES_MAX, err);
        if (again)
            return again < 0 ? again : 0;
    }
    return fail(job, task, result->status == GIT_EXIT_UNREACHABLE ? FAULT_ENVIRONMENT : FAULT_USER,
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
    write_outcome(job, result->status == GIT_EXIT_DONE ? pushed : not_pushed, result);
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
    struct err err;
    int64_t wait_ms;
};

void delivery_free_opening(struct job *job)
{
    if (!job->opening)
        return;
    pull_request_release(&job->opening->request);
    free(job->opening);
    job->opening = NULL;
}

static int not_opened(struct job *job, const struct task *task, struct outbox *row, const void *arg,
                      struct err *err)
{
    const struct opening *opening = arg;
    bool is_refused = opening->err.code == ERR_REFUSED || opening->err.code == ERR_NOT_FOUND;
    if (!is_refused) {
        int again = try_again(job, task, row, FORGE_TRIES_MAX, err);
        if (opening->wait_ms > job->pause_ms)
            job->pause_ms =
                opening->wait_ms < FORGE_WAIT_MAX_MS ? opening->wait_ms : FORGE_WAIT_MAX_MS;
        if (again)
            return again < 0 ? again : 0;
    }
    return fail(job, task, is_refused ? FAULT_USER : FAULT_ENVIRONMENT,
                str_format("%s. The branch '%s' is there; 'codex deliver %s' tries again",
                           opening->err.message, task->branch, task->id),
                err);
}

static void on_opened(void *arg, const struct forge_opened *answer, const struct err *err,
                      int64_t wait_ms)
{
    struct job *job = arg;
    struct opening *opening = job->opening;
    if (answer) {
        opening->request.url = str_dup(answer->url);
        opening->request.number = answer->number;
        opening->request.draft = answer->draft;
    } else {
        opening->err = *err;
        opening->wait_ms = wait_ms;
        log_warn(job->id, "%s", err->message);
    }
    job->opening = NULL;
    write_outcome(job, answer ? opened : not_opened,
                  answer ? (void *)&opening->request : (void *)opening);
    pull_request_release(&opening->request);
    free(opening);
}

static int open_pull_request(struct job *job, const struct task *task, struct err *err)
{
    struct refusals refusals;
    int status = store_event_refusals(job->o->store, task->number, &refusals, err);
    if (status < 0) {
        refusals_release(&refusals);
        return status;
    }
    const struct forge *forge = forges_of_task(job->o->forges, task, err);
    struct opening *opening = calloc(1, sizeof *opening);
    if (!opening)
        abort();
    *opening = (struct opening){
        .job = job,
        .request = {.exists = true,
                    .forge = str_dup(forge ? forge->name : NULL),
                    .state = str_dup("open"),
                    .draft = verdict_is_draft(task->verdict, &task->changes),
                    .title = pull_request_title(task, task->verdict),
                    .body = pull_request_body(task, task->verdict, &refusals)},
    };
    refusals_release(&refusals);
    job->opening = opening;
    if (forge)
        forge->open(forge, task, &opening->request, on_opened, job);
    else
        on_opened(job, NULL, err, 0);
    return 0;
}

/* A file that the step needs is not there: lost in a power cut, or removed by somebody. The push's
 * are made again by the import. */
static int file_missing(struct job *job, const struct task *task, struct outbox *row,
                        const void *arg, struct err *err)
{
    const struct err *why = arg;
    row->step = OUTBOX_IMPORT;
    int again = try_again(job, task, row, TRIES_MAX, err);
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
        status = open_pull_request(job, task, &err);
    if (status == -ENOENT)
        write_outcome(job, file_missing, &err);
    else if (status < 0)
        job_trouble(job, &err);
}
