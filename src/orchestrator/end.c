#include "orchestrator/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "orchestrator/files.h"

/* Runs of one task that died, with or without progress: more would not help either. */
enum { MESSAGE_MAX = 1000 };

int end_task(struct job *job, const struct task *task, enum task_state to, const char *reason,
             const struct fault *fault, struct err *err)
{
    struct store *store = job->o->store;
    AUTO_FREE char *work = files_work_bundle(job->o, task->id, task->work_run);
    if (task->commit && files_exist(work)) {
        struct outbox row = {
            .step = OUTBOX_IMPORT, .end_state = to, .reason = (char *)reason, .branch_number = 1};
        if (fault)
            row.fault = *fault;
        return store_outbox_set(store, task->number, &row, err);
    }
    struct task_move move = {.number = task->number,
                             .fence = task->run,
                             .to = to,
                             .reason = reason,
                             .fault = fault ? fault->kind : FAULT_NONE,
                             .fault_step = fault ? fault->step : NULL,
                             .fault_message = fault ? fault->message : NULL};
    return task_set_state(store, &move, err);
}

static int fail_task(struct job *job, const struct task *task, enum fault_kind kind,
                     const char *step, const char *message, struct err *err)
{
    struct fault fault = {kind, (char *)step, (char *)message};
    return end_task(job, task, TASK_FAILED, NULL, &fault, err);
}

/* The run did what it was for. */
static int end_done_run(struct job *job, const struct task *task, bool changed, struct err *err)
{
    struct task_move move = {.number = task->number, .fence = task->run};
    if (!changed) {
        move.to = TASK_COMPLETED;
        move.verdict = VERDICT_NONE;
        move.reason = "no change was needed";
        return task_set_state(job->o->store, &move, err);
    }
    if (!task->commit || task->work_run != task->run)
        return fail_task(job, task, FAULT_PLATFORM, "delivering",
                         "the run reported work but did not name its commit: submit the task again",
                         err);
    move.to = TASK_DELIVERING;
    move.verdict = verdict_of(&task->baseline, &task->verification);
    int status = task_set_state(job->o->store, &move, err);
    struct outbox row = {.step = OUTBOX_IMPORT, .end_state = TASK_COMPLETED, .branch_number = 1};
    return status < 0 ? status : store_outbox_set(job->o->store, task->number, &row, err);
}

/* The runner's sentence, which it chose by the agent's exit status, and behind it the agent's own,
 * because only that says which address or key it was. */
static int fail_as_told(struct job *job, const struct task *task, const struct run_end *end,
                        struct err *err)
{
    AUTO_FREE char *own = NULL;
    int status = store_event_turn_failure(job->o->store, task->number, task->run, &own, err);
    if (status < 0)
        return status;
    AUTO_BUF struct buf message;
    buf_init(&message, MESSAGE_MAX);
    str_append_utf8(&message, end->fault_message, strlen(end->fault_message));
    if (own && *own) {
        buf_append_str(&message, ": ");
        str_append_utf8(&message, own, strlen(own));
    }
    return fail_task(job, task, end->fault, end->fault_step ? end->fault_step : task->phase,
                     message.data, err);
}

/* Its runs died without a word, or a run that was to save what they left has done so. */
static int give_up(struct job *job, const struct task *task, struct err *err)
{
    char message[900];
    if (task->cancel_requested)
        return end_task(job, task, TASK_CANCELLED, "cancelled on request", NULL, err);
    snprintf(message, sizeof message,
             "its run ended early %s%s%s%s: see codexd's log, then submit the task again",
             task->run >= RUNS_MAX ? "too often" : "three times in a row", *job->why ? " (" : "",
             job->why, *job->why ? ")" : "");
    return fail_task(job, task, FAULT_PLATFORM, task->phase ? task->phase : "preparing", message,
                     err);
}

static int end_as_told(struct job *job, const struct task *task, const struct run_end *end,
                       struct err *err)
{
    if (task->cancel_requested)
        return end_task(job, task, TASK_CANCELLED, "cancelled on request", NULL, err);
    switch (end->outcome) {
    case RUN_DONE:
        return end_done_run(job, task, end->changed, err);
    case RUN_CANCELLED:
        if (task->crashes >= CRASHES_MAX || task->run >= RUNS_MAX)
            return give_up(job, task, err);
        return end_task(job, task, TASK_CANCELLED, "its run was ended on the server", NULL, err);
    case RUN_FAILED:
        if (end->fault > FAULT_NONE && end->fault < FAULT_COUNT && end->fault_message)
            return fail_as_told(job, task, end, err);
        break;
    default:
        break;
    }
    return fail_task(job, task, FAULT_PLATFORM, task->phase,
                     "the run failed without saying why: see codexd's log", err);
}

int end_run(struct job *job, const struct run_end *end, struct err *err)
{
    struct store *store = job->o->store;
    struct task task;
    int status = store_run_end(store, job->number, job->run, end->outcome, err);
    if (status == 0)
        status = store_task_load(store, job->number, &task, err);
    if (status < 0)
        return status;
    status = end_as_told(job, &task, end, err);
    task_release(&task);
    return status;
}

static int start_over(struct job *job, const struct task *task, struct err *err)
{
    char reason[900];
    int run = store_run_add(job->o->store, task->number, err);
    if (run < 0)
        return run;
    snprintf(reason, sizeof reason, "run %u ended early%s%s: run %d takes over", task->run,
             job->why[0] ? ", " : "", job->why, run);
    struct task_move move = {
        .number = task->number, .fence = (uint32_t)run, .to = TASK_PREPARING, .reason = reason};
    return task_set_state(job->o->store, &move, err);
}

int end_crashed_run(struct job *job, bool counts, struct err *err)
{
    struct store *store = job->o->store;
    struct store_run run;
    struct task task;
    int status = store_run_end(store, job->number, job->run, RUN_OUTCOME_COUNT, err);
    if (status == 0)
        status = store_run_get(store, job->number, &run, err);
    if (status == 0)
        status = store_task_load(store, job->number, &task, err);
    if (status < 0)
        return status;
    int64_t crashes = run.progress ? 0 : task.crashes + counts;
    status = store_task_set_crashes(store, job->number, crashes, err);
    /* Also a task that is given up goes on, with a run that saves what it had done; unless that
     * has crashed, too. */
    if (status == 0)
        status = crashes > CRASHES_MAX || task.run > RUNS_MAX ? give_up(job, &task, err)
                                                              : start_over(job, &task, err);
    task_release(&task);
    return status;
}
