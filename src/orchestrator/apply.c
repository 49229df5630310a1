#include "orchestrator/apply.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/object_id.h"
#include "base/str.h"
#include "orchestrator/evidence.h"
#include "orchestrator/internal.h"
#include "orchestrator/run_event.h"

enum { ACTIVITY_MAX = 400, ADVICE_MAX = 2048 };

/* Lines on their way into one transaction. */
struct batch {
    struct job *job;
    bool open;
    bool progress;
    int64_t committed; /* offset behind the last committed line */
};

static int batch_begin(struct batch *batch, enum store_durability durability, struct err *err)
{
    struct job *job = batch->job;
    int status = store_begin(job->o->store, durability, err);
    if (status < 0)
        return status;
    batch->open = true;
    batch->progress = false;
    return store_check_fence(job->o->store, job->number, job->run, err);
}

/* Commit what was applied, with the OFFSET behind it. */
static int batch_commit(struct batch *batch, int64_t offset, struct err *err)
{
    struct job *job = batch->job;
    int status =
        store_run_set_offset(job->o->store, job->number, job->run, offset, batch->progress, err);
    batch->open = false;
    status = store_end(job->o->store, status, err);
    if (status == 0)
        batch->committed = offset;
    return status;
}

static int add_event(struct job *job, const struct run_event *event, struct err *err)
{
    struct store_event added = {
        .number = job->number,
        .run = job->run,
        .type = event->type,
        .ts = event->ts,
        .phase = event->phase < PHASE_COUNT ? phase_name(event->phase) : NULL,
        .members = event->members.data,
    };
    return store_event_add(job->o->store, &added, err);
}

static int phase_started(struct job *job, const struct run_event *event, struct err *err)
{
    if (event->phase == PHASE_COUNT)
        return 0;
    int status = store_task_set_phase(job->o->store, job->number, phase_name(event->phase),
                                      event->round, err);
    struct task_move move = {.number = job->number, .fence = job->run};
    if (status < 0 || !task_state_of_phase(event->phase, &move.to))
        return status;
    status = task_set_state(job->o->store, &move, err);
    if (status != ERR_REFUSED)
        return status;
    log_warn(job->id, "phase %s began, but %s", phase_name(event->phase), err->message);
    return 0; /* nothing was written; the event itself is kept */
}

/* The agent's commit and what it is to be called. */
static int work_done(struct job *job, const struct run_event *event, struct err *err)
{
    struct store_work work = {
        .run = job->run,
        .commit = run_event_result_text(event, "commit"),
        .title = run_event_result_text(event, "title"),
        .body = run_event_result_text(event, "body"),
        .branch = run_event_result_text(event, "branch"),
    };
    if (!work.commit)
        return 0; /* the step that ran the agent, or nothing changed */
    if (!object_id_valid(work.commit)) {
        log_warn(job->id, "the work's commit is not the name of a commit");
        return 0;
    }
    return store_task_set_work(job->o->store, job->number, &work, err);
}

/* A set-up that failed says more than the runner, which does not read what a sandbox wrote. */
static int prepared(struct job *job, const struct run_event *event, struct err *err)
{
    const char *advice = run_event_result_text(event, "advice");
    if (event->status == 0)
        return store_task_set_prepared(job->o->store, job->number, err);
    if (!advice)
        return 0;
    AUTO_BUF struct buf cut;
    buf_init(&cut, ADVICE_MAX);
    str_append_utf8(&cut, advice, strlen(advice));
    return store_task_set_setup_failure(job->o->store, job->number, cut.data, err);
}

static int phase_completed(struct batch *batch, const struct run_event *event, struct err *err)
{
    batch->progress = true;
    switch (event->phase) {
    case PHASE_PREPARING:
        return prepared(batch->job, event, err);
    case PHASE_BASELINE:
    case PHASE_VERIFYING:
        return evidence_take(batch->job, event, err);
    case PHASE_WORKING:
        return work_done(batch->job, event, err);
    default:
        return 0;
    }
}

static int set_activity(struct job *job, const char *command, struct err *err)
{
    AUTO_BUF struct buf cut;
    buf_init(&cut, ACTIVITY_MAX);
    if (command)
        str_append_utf8(&cut, command, strlen(command));
    return store_task_set_activity(job->o->store, job->number, command ? cut.data : NULL, err);
}

static int add_archive(struct job *job, const struct run_event *event, struct err *err)
{
    if (!event->has_archive || strspn(event->archive_sha256, "0123456789abcdef") != 64 ||
        event->archive_sha256[64])
        return 0;
    AUTO_FREE char *path = orchestrator_task_file(job->o, job->id, "archive.tar.zst");
    int status = store_task_set_archive(job->o->store, job->number, path, event->archive_sha256,
                                        event->archive_size, err);
    if (status < 0)
        return status;
    AUTO_BUF struct buf members;
    buf_init(&members, 65536);
    buf_append_str(&members, ",\"archive\":{\"path\":");
    json_text_cstring(&members, path);
    buf_appendf(&members, ",\"size_bytes\":%lld,\"sha256\":\"%s\"}", (long long)event->archive_size,
                event->archive_sha256);
    struct store_event added = {.number = job->number,
                                .run = job->run,
                                .type = "delivery.archive",
                                .members = members.data};
    return store_event_add(job->o->store, &added, err);
}

static int run_ended(struct job *job, const struct run_event *event, struct err *err)
{
    struct task task;
    int status = add_archive(job, event, err);
    if (status == 0)
        status = store_task_load(job->o->store, job->number, &task, err);
    if (status < 0)
        return status;
    bool by_setup = event->fault == FAULT_ENVIRONMENT && event->fault_step &&
                    !strcmp(event->fault_step, phase_name(PHASE_PREPARING)) && task.setup_failure;
    struct run_end end = {.outcome = event->outcome,
                          .changed = event->changed,
                          .fault = event->fault,
                          .fault_step = event->fault_step,
                          .fault_message = by_setup ? task.setup_failure : event->fault_message};
    status = end_run(job, &end, err);
    task_release(&task);
    return status;
}

static int apply(struct batch *batch, const struct run_event *event, struct err *err)
{
    struct job *job = batch->job;
    int status = add_event(job, event, err);
    if (status < 0)
        return status;
    switch (event->kind) {
    case RUN_EVENT_PHASE_STARTED:
        return phase_started(job, event, err);
    case RUN_EVENT_PHASE_COMPLETED:
        return phase_completed(batch, event, err);
    case RUN_EVENT_USAGE:
        batch->progress = true;
        return store_task_add_usage(job->o->store, job->number, &event->usage, err);
    case RUN_EVENT_LIMIT_HIT:
        return store_task_add_limit_hit(job->o->store, job->number, event->limit, err);
    case RUN_EVENT_COMMAND_STARTED:
        return set_activity(job, event->command, err);
    case RUN_EVENT_COMMAND_ENDED:
        return set_activity(job, NULL, err);
    case RUN_EVENT_ENDED:
        return run_ended(job, event, err);
    default:
        return 0;
    }
}

/* The line that begins at OFFSET. run.ended gets a transaction of its own, which waits for the
 * disk: with it the task's end is decided. */
static int apply_line(struct batch *batch, const char *line, size_t len, int64_t offset,
                      bool *ended, struct err *err)
{
    struct run_event event;
    struct err bad = {0};
    int status = 0;
    if (run_event_parse(line, len, &event, &bad) < 0) {
        log_warn(batch->job->id, "passed over a line of the event file: %s", bad.message);
        return 0;
    }
    if (event.kind == RUN_EVENT_ENDED) {
        status = batch_commit(batch, offset, err);
        if (status == 0)
            status = batch_begin(batch, STORE_NOW, err);
    }
    if (status == 0)
        status = apply(batch, &event, err);
    if (status == 0 && event.kind == RUN_EVENT_ENDED) {
        status = batch_commit(batch, offset + (int64_t)len + 1, err);
        *ended = status == 0;
    }
    run_event_release(&event);
    return status;
}

int apply_lines(void *arg, const char *lines, size_t len, int64_t offset, size_t *consumed,
                bool *ended, struct err *err)
{
    struct batch batch = {.job = arg, .committed = offset};
    size_t at = 0;
    int status = batch_begin(&batch, STORE_LATER, err);
    while (status == 0 && at < len && !*ended) {
        const char *newline = memchr(lines + at, '\n', len - at);
        size_t line_len = (size_t)(newline - lines) - at;
        status = apply_line(&batch, lines + at, line_len, offset + (int64_t)at, ended, err);
        at += line_len + 1;
    }
    if (status == 0 && batch.open)
        status = batch_commit(&batch, offset + (int64_t)at, err);
    if (batch.open)
        store_rollback(batch.job->o->store);
    *consumed = (size_t)(batch.committed - offset);
    if (status == ERR_CONFLICT)
        *ended = true; /* another run has taken over */
    if (*ended)
        job_continue_in(batch.job, 0);
    return status == ERR_CONFLICT ? 0 : status;
}
