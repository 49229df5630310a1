#include "runner/environment.h"

#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "runner/phase_steps.h"
#include "task/exit.h"

enum { WAIT_MS = 50 };

/* codex-agent ends set-up at its limit by itself; this much later we do. */
static const int64_t setup_grace_ms = 30 * 1000;

static void on_waited(void *arg)
{
    *(bool *)arg = true;
}

/* Turn the loop for WAIT_MS; what stops the run comes through it. */
static int wait_a_moment(struct run *run)
{
    bool over = false;
    struct err err;
    struct loop_source *timer = loop_add_timer(run->loop, WAIT_MS, on_waited, &over);
    while (!over && run_go_on(run) == 0)
        if (loop_run_once(run->loop, -1, &err) < 0)
            return run_fail(run, FAULT_PLATFORM, "%s", err.message);
    if (!over)
        loop_remove(timer);
    return run_go_on(run);
}

/* The layer of this task's commit, or the one that its workspace lies on already. Returns whether
 * it is the latter. */
static bool name_layer(struct run *run, char name[LAYER_NAME_SIZE])
{
    layer_read_need(run->sandboxes, name);
    if (*name)
        return run->resumed;
    snprintf(name, LAYER_NAME_SIZE, "%s-%s", run->request.layer, run->host.image.key);
    return false;
}

/* 1: found; 0: ours to make. Somebody else who makes it is waited for. */
static int take(struct run *run, const char *name)
{
    struct err err;
    bool said = false;
    for (;;) {
        int status = layer_take(&run->layer, run->options->state, name, &err);
        if (status != -EAGAIN)
            return status < 0 ? run_fail_by(run, &err) : status;
        if (!said)
            gateway_link_note(&run->gateway, run->phase,
                              "environment: another task is making it; waiting\n");
        said = true;
        if (wait_a_moment(run) < 0)
            return -1;
    }
}

int environment_setup(struct run *run, struct sandbox *sandbox, struct buf *result)
{
    const struct step step =
        step_named("setup", SANDBOX_AS_ROOT, run->request.limits.test_timeout_ms + setup_grace_ms);
    struct step_outcome outcome;
    int status = step_run(run, sandbox, &step, &outcome);
    if (outcome.result.len) {
        buf_clear(result);
        buf_append(result, outcome.result.data, outcome.result.len);
    }
    buf_release(&outcome.result);
    if (status < 0)
        return status;
    if (outcome.end == SANDBOX_TIMED_OUT)
        return SETUP_TIMED_OUT;
    bool full = outcome.full && outcome.status != SETUP_DONE && outcome.status != SETUP_NOTHING;
    if (outcome.end == SANDBOX_OUT_OF_MEMORY || full)
        return phase_step_failed(run, "setting up the environment", &outcome);
    return outcome.status;
}

static int judge_setup(struct run *run, int status)
{
    if (status == SETUP_DONE || status == SETUP_NOTHING || status < 0)
        return status < 0 ? -1 : run_go_on(run);
    if (run->stop != RUN_STOP_NONE)
        return -1;
    /* codexd puts what the result says in its place. */
    return run_fail(run, FAULT_ENVIRONMENT, "setting up the environment %s",
                    status == SETUP_TIMED_OUT ? "took too long" : "failed: see the log");
}

/* The base may want its commands to be root's; whether it gets that is the server's to say. The
 * layer has it for later runs. */
static int settle_user(struct run *run)
{
    if (!run->as_root)
        return 0;
    if (!(run->request.flags & SPAWN_RUN_ALLOW_ROOT))
        return run_fail(run, FAULT_ENVIRONMENT,
                        "the repository wants its commands to run as root (user in "
                        ".codex/environment.conf), which this server does not allow: set "
                        "allow_root = yes in [sandbox] of codex.conf, or take that line out");
    gateway_link_note(&run->gateway, run->phase,
                      "environment: commands run as the sandbox's root, as the repository says\n");
    return 0;
}

static int make(struct run *run, int *exit_status, struct buf *result)
{
    int64_t began_ms = clock_mono_ms();
    struct sandbox *sandbox = phase_open_sandbox(run, "setup", run->layer.building, NULL, false);
    if (!sandbox)
        return -1;
    int status = phase_checkout(run, sandbox, -1, exit_status, result);
    if (status == 0)
        status = settle_user(run);
    if (status == 0) {
        gateway_link_narrow(&run->gateway, result);
        status = run_go_on(run);
    }
    bool something = false;
    if (status == 0) {
        AUTO_BUF struct buf said;
        buf_init(&said, STEP_RESULT_MAX);
        int ended = environment_setup(run, sandbox, &said);
        something = ended == SETUP_DONE;
        status = judge_setup(run, ended);
        if (ended > 0 && ended != SETUP_NOTHING) {
            *exit_status = ended;
            buf_clear(result);
            buf_append(result, said.data, said.len);
        }
    }
    phase_close_sandbox(run, sandbox);
    struct err err;
    if (status == 0 &&
        (layer_publish(&run->layer, run->options->state, result, run->as_root, &err) < 0 ||
         layer_open(&run->layer, &err) < 0))
        status = run_fail_by(run, &err);
    if (status == 0)
        gateway_link_note(&run->gateway, run->phase, "environment: made in %lld ms%s\n",
                          (long long)(clock_mono_ms() - began_ms),
                          something ? "" : "; nothing to install was found");
    return status;
}

/* What the repository asks for, of the sandboxes that are made from now on. */
static int narrow_limits(struct run *run)
{
    struct err err;
    while (!run->gateway.answered && !run->gateway.broken && run_go_on(run) == 0)
        if (loop_run_once(run->loop, -1, &err) < 0)
            return run_fail(run, FAULT_PLATFORM, "%s", err.message);
    if (run->gateway.broken)
        return run_fail(run, FAULT_PLATFORM, "%s", run->gateway.err.message);
    task_limits_lower(&run->request.limits, &run->gateway.limits);
    return 0;
}

int environment_ensure(struct run *run, int *exit_status, struct buf *result)
{
    char name[LAYER_NAME_SIZE];
    struct err err;
    if (run_go_on(run) < 0 && !run->resumed)
        return -1; /* there is nothing that a layer is needed for */
    bool needed = name_layer(run, name);
    int found = take(run, name);
    if (found < 0)
        return -1;
    /* Before the layer is ours no more alone: nobody may think that it is not needed. */
    if (layer_write_need(run->sandboxes, name, &err) < 0)
        return run_fail_by(run, &err);
    if (!found && needed)
        return run_fail(run, FAULT_PLATFORM,
                        "the environment layer that the workspace lies on is gone");
    if (!found)
        return make(run, exit_status, result) < 0 ? -1 : narrow_limits(run);
    *exit_status = 0;
    if (layer_open(&run->layer, &err) < 0 ||
        layer_read_checkout(&run->layer, result, &run->as_root, &err) < 0)
        return run_fail_by(run, &err);
    if (settle_user(run) < 0)
        return -1;
    gateway_link_narrow(&run->gateway, result);
    gateway_link_note(&run->gateway, run->phase, "environment: found, of an earlier task\n");
    return narrow_limits(run) < 0 ? -1 : run_go_on(run);
}
