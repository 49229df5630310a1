#include "orchestrator/internal.h"

#include "base/log.h"
#include "orchestrator/fetch.h"

/* Whether TASK can still be cancelled: until its push is claimed. */
static int check(struct orchestrator *o, const struct task *task, struct err *err)
{
    struct outbox row;
    bool exists;
    if (task_state_ended(task->state))
        return err_set(err, ERR_REFUSED, "%s has ended: it is %s", task->id,
                       task_state_name(task->state));
    if (task->state != TASK_DELIVERING)
        return 0;
    int status = store_outbox_get(o->store, task->number, &row, &exists, err);
    if (status < 0)
        return status;
    /* A push that lost its bundle goes through the import again: it is claimed all the same. */
    bool claimed = exists && (row.step != OUTBOX_IMPORT || row.branch);
    outbox_release(&row);
    return claimed ? err_set(err, ERR_REFUSED, "%s is delivering: it is too late to cancel it",
                             task->id)
                   : 0;
}

static int write(struct orchestrator *o, const struct task *task, struct err *err)
{
    bool waits = task->state == TASK_QUEUED || task->state == TASK_PARKED;
    struct task_move move = {.number = task->number,
                             .fence = task->run,
                             .to = TASK_CANCELLED,
                             .reason = "cancelled on request"};
    int status = store_begin(o->store, STORE_NOW, err);
    if (status < 0)
        return status;
    status = store_task_request_cancel(o->store, task->number, err);
    if (status == 0 && waits)
        status = task_set_state(o->store, &move, err);
    return store_end(o->store, status, err);
}

int orchestrator_cancel(struct orchestrator *o, const struct task *task, struct err *err)
{
    int status = check(o, task, err);
    if (status == 0)
        status = write(o, task, err);
    if (status < 0)
        return status;
    log_info(task->id, "cancel requested while %s", task_state_name(task->state));
    struct job *job = job_find(o, task->number);
    if (!job || job->git)
        return 0; /* an import under way goes on: the work is kept */
    if (job->follower) {
        monitor_cancel(job);
        return 0;
    }
    fetch_leave(job); /* no longer wanted */
    job_continue_in(job, 0);
    return 0;
}
