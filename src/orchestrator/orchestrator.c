#include "orchestrator/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "orchestrator/bundle_index.h"
#include "orchestrator/fetch.h"
#include "orchestrator/files.h"
#include "orchestrator/upload.h"

enum {
    UNDER_WAY_MAX = 4096,
    FETCHING_MAX = 64,       /* tasks that wait for remote repositories, besides those that run */
    ENDED_TOGETHER_MAX = 64, /* tasks whose ends a kill may have caught before their files went */
    SAME_TROUBLE_MS = 60000, /* how often the log hears of a trouble that lasts */
};

struct orchestrator *orchestrator_new(const struct orchestrator_options *options, struct err *err)
{
    struct orchestrator *o = calloc(1, sizeof *o);
    if (!o)
        abort();
    *o = (struct orchestrator){.loop = options->loop,
                               .store = options->store,
                               .config = options->config,
                               .secrets = options->secrets,
                               .state_dir = str_dup(options->state_dir)};
    struct placer_reports reports = {monitor_on_started, monitor_on_failed, monitor_on_ended, o};
    o->spawner = options->spawner;
    o->machine = machine_new(o->loop, o->spawner);
    o->git = git_new(o->loop, options->spawner);
    o->local =
        placer_local_new(&o->placer, options->spawner, o->state_dir, o->config->runtime, &reports);
    o->followers = followers_new(o->loop);
    o->forges = forges_new(o, err);
    if (o->forges)
        return o;
    orchestrator_free(o);
    return NULL;
}

static void job_free(struct job *job)
{
    struct job **at = &job->o->jobs;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    delivery_free_opening(job);
    delivery_free_look(job);
    job_drop_waits(job);
    free(job);
}

void orchestrator_free(struct orchestrator *o)
{
    if (!o)
        return;
    forges_free(o->forges); /* nobody is answered any more */
    submit_free_all(o);
    refresh_free_all(o);
    examinations_free_all(o);
    forge_probes_free_all(o);
    machine_free(o->machine);
    while (o->jobs)
        job_free(o->jobs);
    fetch_free_all(o);
    bundle_index_free_all(o);
    upload_free_all(o);
    loop_remove(o->queue_timer);
    followers_free(o->followers);
    placer_local_free(o->local);
    git_free(o->git);
    free(o->state_dir);
    free(o);
}

void job_drop_waits(struct job *job)
{
    git_drop(job->git);
    job->git = NULL;
    fetch_leave(job);
    fault_release(&job->fetch_fault);
    job->fetch_fault = (struct fault){0};
    job->wants_slot = false;
    follower_free(job->follower);
    job->follower = NULL;
    monitor_let_go(job);
    loop_remove(job->timer);
    job->timer = NULL;
    loop_remove(job->cancel_timer);
    job->cancel_timer = NULL;
    job->placed = job->started = job->gone = job->looked_again = false;
    job->why[0] = '\0';
}

struct job *job_find(struct orchestrator *o, int64_t number)
{
    struct job *job = o->jobs;
    while (job && job->number != number)
        job = job->next;
    return job;
}

struct run_name job_run_name(const struct job *job)
{
    struct run_name name = {.turn = job->turn, .attempt = job->attempt, .run = job->run};
    memcpy(name.task, job->id, sizeof job->id);
    return name;
}

static struct job *job_new(struct orchestrator *o, int64_t number)
{
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        abort();
    *job = (struct job){.o = o, .number = number, .adopted_fd = -1, .next = o->jobs};
    o->jobs = job;
    return job;
}

void job_begin(struct orchestrator *o, int64_t number)
{
    job_continue_in(job_new(o, number), 0);
}

static void on_timer(void *arg)
{
    struct job *job = arg;
    job->timer = NULL;
    job_continue(job);
}

void job_continue_in(struct job *job, int64_t delay_ms)
{
    loop_remove(job->timer);
    job->timer = loop_add_timer(job->o->loop, delay_ms, on_timer, job);
}

bool trouble_is_news(struct trouble *last, const struct err *err)
{
    int64_t now = clock_mono_ms();
    if (!strncmp(last->message, err->message, sizeof last->message - 1) &&
        now - last->logged_ms < SAME_TROUBLE_MS)
        return false;
    snprintf(last->message, sizeof last->message, "%.*s", (int)sizeof last->message - 1,
             err->message);
    last->logged_ms = now;
    return true;
}

void job_trouble(struct job *job, const struct err *err)
{
    if (trouble_is_news(&job->trouble, err))
        log_error(job->id[0] ? job->id : "-", "%s; it is tried again", err->message);
    job_continue_in(job, RETRY_MS);
}

void release_run(struct orchestrator *o, const struct task *task)
{
    /* Without an archive the workspace is all that there is. */
    if (!task->run || (task->prepared && !task->archive_path))
        return;
    struct run_name name = {.turn = task->turn, .attempt = task->attempt, .run = task->run};
    struct err err;
    memcpy(name.task, task->id, sizeof task->id);
    if (o->placer.forget(o->placer.self, &name, &err) < 0)
        log_warn(task->id, "%s", err.message);
}

/* What an ended task no longer needs goes; then its slot is free. */
static void job_ended(struct job *job, const struct task *task)
{
    struct orchestrator *o = job->o;
    log_info(task->id, "%s%s%s", task_state_name(task->state), task->fault.message ? ": " : "",
             task->fault.message ? task->fault.message : "");
    files_release(o, task);
    release_run(o, task);
    job_free(job);
    queue_changed(o);
}

void job_continue(struct job *job)
{
    struct orchestrator *o = job->o;
    struct err err = {0};
    struct task task = {0};
    struct store_run run = {0};
    struct outbox row = {0};
    bool delivers = false;
    if (job->git || job->fetch || job->opening)
        return; /* it calls again */
    int status = store_task_load(o->store, job->number, &task, &err);
    if (status == 0)
        status = store_run_get(o->store, job->number, &run, &err);
    if (status == 0)
        status = store_outbox_get(o->store, job->number, &row, &delivers, &err);
    if (status < 0) {
        job_trouble(job, &err);
        task_release(&task);
        return;
    }
    strcpy(job->id, task.id);
    job->turn = task.turn;
    job->attempt = task.attempt;
    if (job->run != run.run || delivers || task_state_ended(task.state))
        job_drop_waits(job); /* of the run before */
    job->run = run.run;
    if (task_state_ended(task.state))
        job_ended(job, &task);
    else if (delivers)
        delivery_continue(job, &task, &row);
    else if (!run.spawned_ms)
        prepare_continue(job, &task);
    else
        monitor_continue(job, &task, &run);
    outbox_release(&row);
    task_release(&task);
}

/* The next task of the queue gets a run and a job. */
static int claim(struct orchestrator *o, int64_t number, struct err *err)
{
    int status = store_begin(o->store, STORE_NOW, err);
    if (status < 0)
        return status;
    int run = store_run_add(o->store, number, err);
    struct task_move move = {.number = number, .fence = (uint32_t)run, .to = TASK_PREPARING};
    return store_end(o->store, run < 0 ? run : task_set_state(o->store, &move, err), err);
}

/* A job that waits for a remote repository lets others run; with its bundle it waits for a slot. */
static bool holds_slot(const struct job *job)
{
    return !fetch_is_remote(job) && !job->wants_slot;
}

static int64_t count_slots(const struct orchestrator *o, int64_t *others)
{
    int64_t count = 0;
    *others = 0;
    for (const struct job *job = o->jobs; job; job = job->next)
        ++*(holds_slot(job) ? &count : others);
    return count;
}

/* The oldest job that waits for a slot. */
static struct job *first_waiting(struct orchestrator *o)
{
    struct job *first = NULL;
    for (struct job *job = o->jobs; job; job = job->next)
        if (job->wants_slot && (!first || job->number < first->number))
            first = job;
    return first;
}

bool queue_starts_now(struct orchestrator *o, int64_t number)
{
    struct err ignored;
    int64_t waiting;
    return count_slots(o, &waiting) < o->config->max_running &&
           store_queue_head(o->store, &ignored) == number;
}

/* Fill the free slots. Called by the loop alone, never from within a job: a job may end at once. */
static void fill_slots(void *arg)
{
    struct orchestrator *o = arg;
    struct err err = {0};
    o->queue_timer = NULL;
    int64_t waiting;
    while (count_slots(o, &waiting) < o->config->max_running) {
        struct job *ready = first_waiting(o);
        if (ready) {
            ready->wants_slot = false;
            job_continue(ready);
            continue;
        }
        if (waiting >= FETCHING_MAX)
            return;
        int64_t number = store_queue_head(o->store, &err);
        if (number == 0)
            return;
        if (number < 0 || files_check_room(o, &err) < 0 || claim(o, number, &err) < 0) {
            if (trouble_is_news(&o->trouble, &err))
                log_error("-", "cannot start the next task: %s; it is tried again", err.message);
            o->queue_timer = loop_add_timer(o->loop, RETRY_MS, fill_slots, o);
            return;
        }
        job_continue(job_new(o, number));
    }
}

void queue_changed(struct orchestrator *o)
{
    loop_remove(o->queue_timer);
    o->queue_timer = loop_add_timer(o->loop, 0, fill_slots, o);
}

/* Tasks whose end was written just before codexd was killed still have everything. */
static int release_ended(struct orchestrator *o, struct err *err)
{
    int64_t numbers[ENDED_TOGETHER_MAX];
    int count = store_tasks_ended_last(o->store, numbers, ENDED_TOGETHER_MAX, err);
    for (int i = 0; i < count; i++) {
        struct task task = {0};
        int status = store_task_load(o->store, numbers[i], &task, err);
        if (status == 0) {
            files_release(o, &task);
            release_run(o, &task);
        }
        task_release(&task);
        if (status < 0)
            return status;
    }
    return count < 0 ? count : 0;
}

int orchestrator_start(struct orchestrator *o, struct err *err)
{
    files_remove_unfinished(o);
    int status = release_ended(o, err);
    if (status < 0)
        return status;
    int64_t *numbers = calloc(UNDER_WAY_MAX, sizeof *numbers);
    if (!numbers)
        abort();
    int count = store_tasks_under_way(o->store, numbers, UNDER_WAY_MAX, err);
    for (int i = 0; i < count; i++)
        job_begin(o, numbers[i]);
    free(numbers);
    if (count < 0)
        return count;
    queue_changed(o);
    return 0;
}
