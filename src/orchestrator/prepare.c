#include "orchestrator/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "orchestrator/fetch.h"
#include "orchestrator/files.h"
#include "task/exit.h"

enum {
    OLD_RUNNER_MS = 1000, /* how long to wait for one that should not be there any more */
    ADOPT_TIMEOUT_MS = 10 * 60 * 1000,
};

/* End a task whose run was not handed over. */
static void give_up(struct job *job, enum task_state to, const char *reason,
                    const struct fault *fault)
{
    struct orchestrator *o = job->o;
    struct task task = {0};
    struct err err = {0};
    int status = store_begin(o->store, STORE_NOW, &err);
    if (status == 0)
        status = store_task_load(o->store, job->number, &task, &err);
    if (status == 0)
        status = store_run_end(o->store, job->number, job->run, RUN_OUTCOME_COUNT, &err);
    if (status == 0)
        status = end_task(job, &task, to, reason, fault, &err);
    task_release(&task);
    if (store_end(o->store, status, &err) < 0)
        job_trouble(job, &err);
    else
        job_continue(job);
}

/* Takes MESSAGE over. */
static void fail(struct job *job, enum fault_kind kind, char *message)
{
    AUTO_FREE char *owned = message;
    struct fault fault = {kind, (char *)"preparing", owned};
    give_up(job, TASK_FAILED, NULL, &fault);
}

/* 1: the task has the shared bundle of COMMIT, as its file NAME; 0: it is on its way, and then the
 * job goes on. */
static int have_shared(struct job *job, const struct task *task, const char *commit,
                       const char *name, struct err *err)
{
    AUTO_FREE char *own = orchestrator_task_file(job->o, task->id, name);
    if (files_exist(own))
        return 1;
    AUTO_FREE char *key = files_bundle_key(job->o, task->uid, task->repo, commit);
    int status = files_link_bundle(job->o, key, task->id, name, err);
    if (status == 0)
        return 1;
    if (status != -ENOENT)
        return status;
    fetch_join(job, task, commit, key, name);
    return 0;
}

static void on_adopted(void *arg, const struct git_result *result)
{
    struct job *job = arg;
    struct err err = {0};
    job->git = NULL;
    AUTO_FREE char *extra_new = orchestrator_task_file(job->o, job->id, "extra.bundle.tmp");
    AUTO_FREE char *extra = orchestrator_task_file(job->o, job->id, "extra.bundle");
    AUTO_FREE char *base_new = orchestrator_task_file(job->o, job->id, "base.bundle.tmp");
    AUTO_FREE char *base = orchestrator_task_file(job->o, job->id, "base.bundle");
    if (result->status > 0 || (result->status < 0 && ++job->adopt_tries >= TRIES_MAX)) {
        fail(job, result->status > 0 ? FAULT_USER : FAULT_PLATFORM,
             str_format("the commits that came along cannot be used (%s)", result->message));
        return;
    }
    if (result->status < 0)
        err_set(&err, -EIO, "cannot take up the commits that came along: %s", result->message);
    /* The base last: with it the task goes on. */
    else if (files_publish(extra_new, extra, &err) == 0)
        files_publish(base_new, base, &err);
    if (err.code)
        job_trouble(job, &err);
    else
        job_continue(job);
}

/* Commits of a stranger, as far as codexd is concerned: looked at by nobody alone. */
static int adopt(struct job *job, const struct task *task, struct err *err)
{
    AUTO_FREE char *known = orchestrator_task_file(job->o, task->id, "known.bundle");
    AUTO_FREE char *head = orchestrator_task_file(job->o, task->id, "head.bundle");
    AUTO_FREE char *extra = orchestrator_task_file(job->o, task->id, "extra.bundle.tmp");
    AUTO_FREE char *base = orchestrator_task_file(job->o, task->id, "base.bundle.tmp");
    AUTO_FD int known_fd = open(known, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    AUTO_FD int head_fd = open(head, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (known_fd < 0 || head_fd < 0)
        return err_errno(err, "cannot open the commits that came along");
    AUTO_FD int extra_fd = files_create(extra, O_WRONLY, err);
    AUTO_FD int base_fd = extra_fd < 0 ? -1 : files_create(base, O_WRONLY, err);
    if (base_fd < 0)
        return err->code;
    struct git_request request = {
        .args = {"adopt", "--commit", task->base_commit, "--base-commit", task->base_known},
        .timeout_ms = ADOPT_TIMEOUT_MS,
        .fds = {{known_fd, 3}, {head_fd, 4}, {extra_fd, 5}, {base_fd, 6}},
        .fds_count = 4,
    };
    job->git = git_start(job->o->git, &request, on_adopted, job, err);
    return job->git ? 0 : err->code;
}

/* 1: the task has its base bundle; 0: it is on its way, and then the job goes on. */
static int have_bundle(struct job *job, const struct task *task, struct err *err)
{
    AUTO_FREE char *own = orchestrator_task_file(job->o, task->id, "base.bundle");
    if (files_exist(own))
        return 1;
    int status = files_make_dir(job->o, task->id, err);
    if (status < 0)
        return status;
    if (!task->base_known)
        return have_shared(job, task, task->base_commit, "base.bundle", err);
    status = have_shared(job, task, task->base_known, "known.bundle", err);
    return status <= 0 ? status : adopt(job, task, err);
}

/* A runner of an earlier run that outlived the codexd which gave it up: it has to go first. */
static bool old_runner_is_there(struct job *job)
{
    struct run_name name = job_run_name(job);
    struct err err = {0};
    pid_t pid = job->o->placer.find(job->o->placer.self, &name, &err);
    if (pid == 0)
        return false;
    if (pid < 0) {
        job_trouble(job, &err);
        return true;
    }
    log_warn(job->id, "waiting for the runner %d of an earlier run to end", (int)pid);
    if (job->o->placer.cancel(job->o->placer.self, &name, &err) < 0)
        log_error(job->id, "%s", err.message);
    job_continue_in(job, OLD_RUNNER_MS);
    return true;
}

static void start(struct job *job, const struct task *task, int64_t left_ms)
{
    struct err err = {0};
    int status = launch_run(job, task, left_ms, &err);
    if (status == ERR_USAGE || status == ERR_KEY_MISSING)
        fail(job, FAULT_USER, str_dup(err.message));
    else if (status < 0)
        job_trouble(job, &err);
    else
        job_continue(job);
}

void prepare_continue(struct job *job, const struct task *task)
{
    struct err err = {0};
    /* What an earlier run has begun is saved, and cleared away, by one that does nothing else. */
    bool saves = task->cancel_requested && task->prepared;
    if (task->cancel_requested && !saves) {
        give_up(job, TASK_CANCELLED, "cancelled on request", NULL);
        return;
    }
    int64_t used_ms = store_runs_used_ms(job->o->store, job->number, &err);
    if (used_ms < 0) {
        job_trouble(job, &err);
        return;
    }
    if (used_ms >= task->timeout_ms && !saves) {
        fail(job, FAULT_LIMIT,
             str_dup("its time is used up: submit it again with a longer --timeout"));
        return;
    }
    if (job->fetch_fault.kind != FAULT_NONE) {
        fail(job, job->fetch_fault.kind, str_dup(job->fetch_fault.message));
        return;
    }
    if (job->wants_slot || old_runner_is_there(job))
        return;
    int status = have_bundle(job, task, &err);
    if (status < 0)
        job_trouble(job, &err);
    else if (status > 0)
        start(job, task, saves ? task->timeout_ms : task->timeout_ms - used_ms);
}
