/* A delivery that was refused, once more: when whoever can has put right what was wrong. */
#include "orchestrator/internal.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "orchestrator/files.h"

static int check(struct orchestrator *o, const struct task *task, struct err *err)
{
    AUTO_FREE char *bundle = orchestrator_task_file(o, task->id, "push.bundle");
    if (task->state != TASK_FAILED)
        return err_set(err, ERR_REFUSED, "%s is %s: only a failed delivery is tried again",
                       task->id, task_state_name(task->state));
    if (!task->fault.step || strcmp(task->fault.step, "delivering") != 0 || !task->commit ||
        !files_exist(bundle))
        return err_set(err, ERR_REFUSED,
                       "%s did not fail in its delivery: there is nothing to deliver", task->id);
    return job_find(o, task->number)
               ? err_set(err, ERR_REFUSED, "%s is just ending: try again in a moment", task->id)
               : 0;
}

static int record(struct orchestrator *o, const struct task *task, struct err *err)
{
    struct outbox row = {.step = OUTBOX_PUSH, .end_state = TASK_COMPLETED};
    struct task_move move = {.number = task->number,
                             .fence = task->run,
                             .to = TASK_DELIVERING,
                             .reason = "its delivery is tried again on request"};
    int status = store_begin(o->store, STORE_NOW, err);
    if (status < 0)
        return status;
    status = task_set_state(o->store, &move, err);
    if (status == 0)
        status = delivery_choose_branch(o, task, &row, task->branch_number, err);
    if (status == 0)
        status = store_outbox_set(o->store, task->number, &row, err);
    outbox_release(&row);
    return store_end(o->store, status, err);
}

int orchestrator_deliver(struct orchestrator *o, const struct task *task, struct err *err)
{
    int status = check(o, task, err);
    if (status == 0)
        status = record(o, task, err);
    if (status < 0)
        return status;
    log_info(task->id, "delivery is tried again on request");
    job_begin(o, task->number);
    return 0;
}
