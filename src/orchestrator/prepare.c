#include "orchestrator/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "orchestrator/files.h"
#include "task/exit.h"

enum {
    FETCH_TIMEOUT_MS = 10 * 60 * 1000,
    OLD_RUNNER_MS = 1000, /* how long to wait for one that should not be there any more */
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

void bundle_fetched(struct job *job)
{
    AUTO_FREE char *key = steal_pointer(&job->bundle_key);
    bool waited = job->waits_for_bundle;
    job->waits_for_bundle = false;
    if (!key || waited)
        return;
    for (struct job *other = job->o->jobs; other; other = other->next) {
        if (!other->waits_for_bundle || strcmp(other->bundle_key, key))
            continue;
        other->waits_for_bundle = false;
        free(other->bundle_key);
        other->bundle_key = NULL;
        job_continue_in(other, 0);
    }
}

static char *fetched_name(const struct job *job, const char *key)
{
    return str_format("%s/server/bundles/%s.tmp-%s", job->o->state_dir, key, job->id);
}

static void on_fetched(void *arg, const struct git_result *result)
{
    struct job *job = arg;
    struct err err = {0};
    job->git = NULL;
    AUTO_FREE char *key = str_dup(job->bundle_key);
    AUTO_FREE char *from = fetched_name(job, key);
    AUTO_FREE char *to = files_bundle(job->o, key);
    int status = result->status == GIT_EXIT_DONE ? files_publish(from, to, &err) : 0;
    if (result->status != GIT_EXIT_DONE)
        unlink(from);
    else if (status == 0)
        files_trim_bundles(job->o);
    bundle_fetched(job);
    if (status < 0) {
        job_trouble(job, &err);
    } else if (result->status == GIT_EXIT_DONE) {
        job_continue(job);
    } else if (result->status > 0) {
        fail(job, FAULT_USER,
             str_format("the base commit cannot be read any more (%s): submit the task again",
                        result->message));
    } else if (++job->fetch_tries >= TRIES_MAX) {
        fail(job, FAULT_PLATFORM,
             str_format("the base commit could not be read (%s): see codexd's log",
                        result->message));
    } else {
        err_set(&err, ERR_LIMIT, "cannot read the base commit: %s", result->message);
        job_trouble(job, &err);
    }
}

static bool being_fetched(const struct job *job, const char *key)
{
    for (const struct job *other = job->o->jobs; other; other = other->next)
        if (other->git && other->bundle_key && !strcmp(other->bundle_key, key))
            return true;
    return false;
}

static int fetch(struct job *job, const struct task *task, const char *key, struct err *err)
{
    AUTO_FREE char *path = fetched_name(job, key);
    AUTO_FD int fd = files_create(path, O_WRONLY, err);
    if (fd < 0)
        return fd;
    struct git_request request = {
        .args = {"fetch", "--repo", task->repo, "--commit", task->base_commit},
        .repository = task->repo,
        .uid = task->uid,
        .timeout_ms = FETCH_TIMEOUT_MS,
        .fds = {{fd, 1}},
        .fds_count = 1,
        .no_output = true,
    };
    job->git = git_start(job->o->git, &request, on_fetched, job, err);
    if (!job->git)
        return err->code;
    log_info(job->id, "fetching %s of %s", task->base_commit, task->repo);
    return 0;
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
    AUTO_FREE char *key = files_bundle_key(task->uid, task->repo, task->base_commit);
    status = files_link_bundle(job->o, key, task->id, err);
    if (status == 0)
        return 1;
    if (status != -ENOENT)
        return status;
    if (being_fetched(job, key)) {
        job->waits_for_bundle = true;
        job->bundle_key = steal_pointer(&key);
        return 0;
    }
    status = fetch(job, task, key, err);
    if (status == 0)
        job->bundle_key = steal_pointer(&key);
    return status;
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
    if (old_runner_is_there(job))
        return;
    int status = have_bundle(job, task, &err);
    if (status < 0)
        job_trouble(job, &err);
    else if (status > 0)
        start(job, task, task->timeout_ms - used_ms);
}
