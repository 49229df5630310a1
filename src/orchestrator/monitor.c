#include "orchestrator/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "orchestrator/apply.h"
#include "orchestrator/files.h"

enum {
    CANCEL_AGAIN_MS = 5000, /* a request can reach a runner that is not there yet */
    LOOK_AGAIN_MS = 500,    /* a runner that was just started has not taken its lock yet */
    STILL_THERE_MS = 1000,  /* who holds an adopted run's lock may be a spawner that cleans up */
};

static struct job *find_by_name(struct orchestrator *o, const struct run_name *name)
{
    for (struct job *job = o->jobs; job; job = job->next)
        if (!strcmp(job->id, name->task) && job->run == name->run && job->attempt == name->attempt)
            return job;
    return NULL;
}

/* The run's processes are gone: once the event file is read to its end, it is known how it went. */
static void run_is_gone(struct job *job)
{
    job->gone = true;
    if (job->follower)
        follower_poke(job->follower);
    else
        job_continue_in(job, 0);
}

/* Its file says no more and its processes are gone: it died without a word. */
static void on_idle(void *arg)
{
    struct job *job = arg;
    struct err err = {0};
    if (!job->gone)
        return;
    /* Nothing in the file of a run that an earlier codexd handed over: it never began. */
    bool counts = job->placed || !follower_is_empty(job->follower);
    log_warn(job->id, "run %u is gone%s%s", job->run, job->why[0] ? ": " : "", job->why);
    int status = store_begin(job->o->store, STORE_NOW, &err);
    if (status == 0)
        status = end_crashed_run(job, counts, &err);
    if (store_end(job->o->store, status, &err) < 0)
        job_trouble(job, &err);
    else
        job_continue(job);
}

static void on_trouble(void *arg, const struct err *err)
{
    struct job *job = arg;
    if (trouble_is_news(&job->trouble, err))
        log_error(job->id, "%s; it is tried again", err->message);
}

static int follow(struct job *job, int64_t offset, struct err *err)
{
    AUTO_FREE char *path = files_events(job->o, job->id, job->run);
    /* Made before the run was handed over; should it have been removed, there is nothing to learn
     * from it, but the task must not wait for it for ever. */
    AUTO_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(err, "cannot open '%s'", path);
    struct follow_options options = {apply_lines, on_idle, on_trouble, job};
    job->follower = follower_new(job->o->followers, path, offset, &options, err);
    return job->follower ? 0 : err->code;
}

void monitor_let_go(struct job *job)
{
    loop_remove(job->adopted);
    job->adopted = NULL;
    if (job->adopted_fd >= 0)
        close(job->adopted_fd);
    job->adopted_fd = -1;
    job->adopted_pid = 0;
}

static void on_adopted_ended(void *arg, uint32_t events)
{
    struct job *job = arg;
    monitor_let_go(job);
    job_continue_in(job, 0); /* looks at the lock again */
}

static int watch_adopted(struct job *job, pid_t pid, struct err *err)
{
    job->adopted_fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (job->adopted_fd < 0 && errno == ESRCH) {
        job_continue_in(job, 0);
        return 0;
    }
    if (job->adopted_fd < 0)
        return err_errno(err, "cannot watch runner %d", (int)pid);
    job->adopted = loop_add_fd(job->o->loop, job->adopted_fd, EPOLLIN, on_adopted_ended, job, err);
    if (!job->adopted)
        return err->code;
    job->adopted_pid = pid;
    log_info(job->id, "run %u goes on: its runner is process %d", job->run, (int)pid);
    return 0;
}

/* Find the runner that an earlier codexd started, and learn of its end; and see now and then that
 * it is the one still. */
static int adopt(struct job *job, struct err *err)
{
    struct run_name name = job_run_name(job);
    pid_t pid = job->o->placer.find(job->o->placer.self, &name, err);
    if (pid < 0)
        return pid;
    if (pid != job->adopted_pid)
        monitor_let_go(job);
    if (pid == 0 && !job->looked_again) {
        job->looked_again = true;
        job_continue_in(job, LOOK_AGAIN_MS);
        return 0;
    }
    if (pid == 0) {
        snprintf(job->why, sizeof job->why, "its runner is not there any more");
        run_is_gone(job);
        return 0;
    }
    job_continue_in(job, STILL_THERE_MS);
    return job->adopted ? 0 : watch_adopted(job, pid, err);
}

void monitor_continue(struct job *job, const struct task *task, const struct store_run *run)
{
    struct err err = {0};
    int status = 0;
    if (!job->follower)
        status = follow(job, run->events_offset, &err);
    if (status == 0 && !job->placed && !job->gone)
        status = adopt(job, &err);
    if (status < 0)
        job_trouble(job, &err);
    if (task->cancel_requested && !job->cancel_timer)
        monitor_cancel(job);
}

static void on_cancel_timer(void *arg)
{
    struct job *job = arg;
    job->cancel_timer = NULL;
    monitor_cancel(job);
}

void monitor_cancel(struct job *job)
{
    struct run_name name = job_run_name(job);
    struct err err = {0};
    if (job->o->placer.cancel(job->o->placer.self, &name, &err) < 0)
        log_error(job->id, "cannot cancel: %s; it is tried again", err.message);
    loop_remove(job->cancel_timer);
    job->cancel_timer = loop_add_timer(job->o->loop, CANCEL_AGAIN_MS, on_cancel_timer, job);
}

void monitor_on_started(void *arg, const struct run_name *name)
{
    struct job *job = find_by_name(arg, name);
    if (!job)
        return;
    job->started = true;
    log_info(job->id, "run %u started", job->run);
    if (job->cancel_timer)
        monitor_cancel(job); /* asked for before there was somebody to ask */
}

void monitor_on_failed(void *arg, const struct run_name *name, const char *why)
{
    struct job *job = find_by_name(arg, name);
    if (!job || !job->placed || job->started)
        return; /* a cancel that reached nobody: if there was a run, its end is reported, too */
    snprintf(job->why, sizeof job->why, "%s", why);
    run_is_gone(job);
}

/* It has told its end in its event file, and that was all there was to it; but it may have been
 * killed right behind that, before it removed its files. */
static void ended_before(struct orchestrator *o, const struct run_name *name)
{
    struct task task = {0};
    if (store_task_get(o->store, name->task, &task, NULL) == 0 && task_state_ended(task.state) &&
        task.run == name->run)
        release_run(o, &task);
    task_release(&task);
}

void monitor_on_ended(void *arg, const struct run_name *name, const char *why)
{
    struct job *job = find_by_name(arg, name);
    if (!job) {
        ended_before(arg, name);
        return;
    }
    snprintf(job->why, sizeof job->why, "%s", why);
    run_is_gone(job);
}
