#include "orchestrator/delivery.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"

enum {
    FORGE_TRIES_MAX = 7,
    FORGE_WAIT_MAX_MS = 15 * 60 * 1000, /* of what a forge asks us to wait */
};

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
    return status < 0 ? status : delivery_end(job, task, TASK_COMPLETED, NULL, &none, err);
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
        int again = delivery_try_again(job, task, row, FORGE_TRIES_MAX, err);
        if (opening->wait_ms > job->pause_ms)
            job->pause_ms =
                opening->wait_ms < FORGE_WAIT_MAX_MS ? opening->wait_ms : FORGE_WAIT_MAX_MS;
        if (again)
            return again < 0 ? again : 0;
    }
    return delivery_fail(job, task, row, is_refused ? FAULT_USER : FAULT_ENVIRONMENT,
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
    delivery_write(job, answer ? opened : not_opened,
                   answer ? (void *)&opening->request : (void *)opening);
    pull_request_release(&opening->request);
    free(opening);
}

int delivery_open_request(struct job *job, const struct task *task, struct err *err)
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
