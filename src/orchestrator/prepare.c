#include "orchestrator/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "orchestrator/fetch.h"
#include "orchestrator/files.h"

enum { OLD_RUNNER_MS = 1000 }; /* how long to wait for one that should not be there any more */

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

/* 1: the task has its base bundle; 0: it is on its way, and then the job goes on. */
static int have_bundle(struct job *job, const struct task *task, struct err *err)
{
    AUTO_FREE char *own = orchestrator_task_file(job->o, task->id, "base.bundle");
    if (files_exist(own))
        return 1;
    int status = files_make_dir(job->o, task->id, err);
    if (status < 0)
        return status;
    AUTO_FREE char *key = files_bundle_key(task->repo, task->base_commit);
    status = files_link_bundle(job->o, key, task->id, err);
    if (status == 0)
        return 1;
    if (status != -ENOENT)
        return status;
    fetch_join(job, task, key);
    return 0;
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
    if (task->cancel_requested) {
        give_up(job, TASK_CANCELLED, "cancelled on request", NULL);
        return;
    }
    int64_t used_ms = store_runs_used_ms(job->o->store, job->number, &err);
    if (used_ms < 0) {
        job_trouble(job, &err);
        return;
    }
    if (used_ms >= task->timeout_ms) {
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
        start(job, task, task->timeout_ms - used_ms);
}
