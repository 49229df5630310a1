#include "runner/phase_steps.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "runner/sandbox_name.h"
#include "task/exit.h"

/* What git may take on a large repository and a slow disk. */
static const int64_t checkout_ms = 15 * 60 * 1000;

int run_go_on(const struct run *run)
{
    return run->stop == RUN_STOP_NONE && !run->lost ? 0 : -1;
}

/* Make the way to the internet in SANDBOX: of the work, or of another one beside it. */
static int open_proxy_door(struct run *run, struct sandbox *sandbox, bool of_work, struct err *err)
{
    int listener = sandbox_listen(sandbox, GATEWAY_PROXY_PORT, err);
    if (listener < 0)
        return listener;
    gateway_link_listen(&run->gateway,
                        of_work ? GATEWAY_LISTENER_PROXY : GATEWAY_LISTENER_SIDE_PROXY, listener);
    return 0;
}

struct sandbox *phase_open_sandbox(struct run *run, const char *role, const char *directory,
                                   const char *below, bool keep)
{
    char name[SANDBOX_NAME_SIZE], own[4096 + 32];
    struct err err;
    snprintf(own, sizeof own, "%s/%s", run->sandboxes, role);
    struct sandbox *sandbox = NULL;
    if (sandbox_name(name, run->options->state, run->name, role, &err) == 0)
        sandbox = sandbox_create(
            &run->host,
            &(struct sandbox_options){
                .name = name,
                .directory = directory ? directory : own,
                .below = below,
                .keep = keep,
                .limits = {.memory_bytes = run->request.limits.memory_bytes,
                           .cpu_milli = run->request.limits.cpu_milli,
                           .pids = run->request.limits.pids,
                           .disk = {run->request.limits.disk_bytes, run->request.limits.inodes}},
            },
            &err);
    if (sandbox && open_proxy_door(run, sandbox, keep, &err) == 0 &&
        sandbox_start(sandbox, &err) == 0)
        return sandbox;
    run_fail_by(run, &err);
    sandbox_free(sandbox, NULL);
    return NULL;
}

void phase_close_sandbox(struct run *run, struct sandbox *sandbox)
{
    struct err err;
    if (sandbox)
        gateway_link_unlisten(&run->gateway, sandbox == run->work ? GATEWAY_LISTENER_PROXY
                                                                  : GATEWAY_LISTENER_SIDE_PROXY);
    if (sandbox_free(sandbox, &err) < 0)
        log_warn(run->request.name.task, "left to the spawner: %s", err.message);
}

int phase_disk_full(struct run *run, const char *what, const struct step_outcome *outcome)
{
    const struct disk_size size = {run->request.limits.disk_bytes, run->request.limits.inodes};
    if (!strcmp(outcome->full, "inodes"))
        return run_fail(run, FAULT_LIMIT,
                        "%s: the sandbox ran out of inodes; give it more than %llu files", what,
                        (unsigned long long)disk_inodes(&size));
    return run_fail(run, FAULT_LIMIT, "%s: the sandbox's disk is full; give it more than %llu MiB",
                    what, (unsigned long long)size.bytes >> 20);
}

int phase_step_failed(struct run *run, const char *what, const struct step_outcome *outcome)
{
    if (run->stop != RUN_STOP_NONE)
        return -1;
    if (outcome->end == SANDBOX_OUT_OF_MEMORY)
        return run_fail(run, FAULT_LIMIT,
                        "%s: the sandbox ran out of memory; give it more than %llu MiB", what,
                        (unsigned long long)run->request.limits.memory_bytes >> 20);
    if (outcome->full)
        return phase_disk_full(run, what, outcome);
    if (outcome->end == SANDBOX_TIMED_OUT)
        return run_fail(run, FAULT_ENVIRONMENT, "%s: took too long", what);
    return run_fail(run, FAULT_ENVIRONMENT, "%s: failed with status %d; its last lines say why",
                    what, outcome->status);
}

struct step phase_task_step(const struct run *run, const char *name, int64_t timeout_ms)
{
    struct step step =
        step_named(name, run->as_root ? SANDBOX_AS_ROOT : SANDBOX_AS_AGENT, timeout_ms);
    step.as_root = run->as_root;
    return step;
}

int phase_checkout(struct run *run, struct sandbox *sandbox, int work_bundle, int *exit_status,
                   struct buf *result)
{
    struct step step = step_named("checkout", SANDBOX_AS_USER, checkout_ms);
    step.read_fd = run->fds[SPAWN_FD_BASE_BUNDLE];
    step.work_fd = work_bundle;
    struct step_outcome outcome;
    int status = step_run(run, sandbox, &step, &outcome);
    if (status == 0) {
        run->as_root |= outcome.status == STEP_EXIT_AS_ROOT;
        *exit_status = outcome.status == STEP_EXIT_AS_ROOT ? STEP_EXIT_DONE : outcome.status;
        if (*exit_status != STEP_EXIT_DONE)
            status = phase_step_failed(run, "checking out the repository", &outcome);
    }
    if (result)
        buf_append(result, outcome.result.data, outcome.result.len);
    buf_release(&outcome.result);
    return status;
}
