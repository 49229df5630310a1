/*
 * What a run does, as docs/architecture.md tells it. Each function is one phase; each begins and
 * ends with an event. A negative return means that there is a fault, or that the run was told to
 * stop: then only what was done is kept.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "runner/environment.h"
#include "runner/phase_steps.h"
#include "task/exit.h"
#include "task/test_list.h"

/* What the platform's own steps may take; git and tar on a large repository and a slow disk. */
static const int64_t commit_ms = 15 * 60 * 1000, archive_ms = 60 * 60 * 1000;

/* codex-agent ends its tests at their limit by itself; this much later we do. */
static const int64_t test_grace_ms = 30 * 1000;

/* The exit status that stands for "could not be run" in an event, as a shell has it. */
enum { STATUS_NOT_RUN = 126 };

static void begin(struct run *run, enum phase phase)
{
    run->phase = phase;
    gateway_link_phase_started(&run->gateway, phase, run->round);
}

static void complete(struct run *run, int status, int64_t began_ms, const struct buf *result)
{
    if (run->lost)
        return;
    gateway_link_phase_completed(&run->gateway, run->phase, run->round, status,
                                 clock_mono_ms() - began_ms, result ? result->data : NULL,
                                 result ? result->len : 0);
}

/* Make the model's listener in the sandbox of the work. */
static int open_model_door(struct run *run)
{
    struct err err;
    int listener = sandbox_listen(run->work, GATEWAY_MODEL_PORT, &err);
    if (listener < 0)
        return run_fail_by(run, &err);
    gateway_link_listen(&run->gateway, GATEWAY_LISTENER_MODEL, listener);
    return 0;
}

/* The sandbox with the workspace, and the gateway's doors in it. It is made again when it has
 * died. */
static int ensure_work(struct run *run)
{
    if (run->lost)
        return -1;
    if (run->work && sandbox_is_alive(run->work))
        return 0;
    phase_close_sandbox(run, run->work);
    run->work = phase_open_sandbox(run, "work", NULL, run->layer.below, true);
    if (!run->work)
        return -1;
    return open_model_door(run);
}

/* Run the tests in SANDBOX; what they say is kept for the agent. The list of tests that is in the
 * file BEFORE (-1: none) is for them to compare with, theirs goes to the file AFTER; a list that did
 * not come whole is an empty file, and known to nobody. Returns their status, or negative. */
static int test(struct run *run, struct sandbox *sandbox, int before, int after)
{
    struct step step =
        phase_task_step(run, "test", run->request.limits.test_timeout_ms + test_grace_ms);
    step.read_fd = before;
    step.copy_to = after;
    step.copy_max = TEST_LIST_BYTES_MAX;
    struct step_outcome outcome;
    int status = step_run(run, sandbox, &step, &outcome);
    buf_clear(&run->test_result);
    buf_append(&run->test_result, outcome.result.data, outcome.result.len);
    buf_release(&outcome.result);
    if (status < 0)
        return status;
    return outcome.end == SANDBOX_TIMED_OUT ? TEST_TIMED_OUT : outcome.status;
}

/* The commit of the work in SANDBOX, with what it depends on. 0, or what the tests' status would be:
 * when it cannot be installed, nothing of it works. */
static int take_over_work(struct run *run, struct sandbox *sandbox)
{
    int exit_status;
    int status = phase_checkout(run, sandbox, run->fds[SPAWN_FD_WORK_BUNDLE], &exit_status, NULL);
    if (status == 0)
        status = run_go_on(run);
    if (status == 0)
        status = environment_setup(run, sandbox, &run->test_result);
    if (status == SETUP_NOTHING)
        return 0;
    return status > 0 && status != SETUP_TIMED_OUT ? (int)TEST_FAILED : status;
}

/* The tests in a sandbox over the environment that nothing has touched, which ends with them. */
static int test_in_new_sandbox(struct run *run, const char *role, bool work)
{
    struct sandbox *sandbox = phase_open_sandbox(run, role, NULL, run->layer.below, false);
    if (!sandbox)
        return -1;
    int status = work ? take_over_work(run, sandbox) : 0;
    if (status == 0)
        status = run_go_on(run);
    if (status == 0)
        status = work ? test(run, sandbox, run->fds[SPAWN_FD_TESTS_BEFORE],
                             run->fds[SPAWN_FD_TESTS_AFTER])
                      : test(run, sandbox, -1, run->fds[SPAWN_FD_TESTS_BEFORE]);
    phase_close_sandbox(run, sandbox);
    return status;
}

static int preparing(struct run *run)
{
    int64_t began_ms = clock_mono_ms();
    AUTO_BUF struct buf result;
    buf_init(&result, STEP_RESULT_MAX);
    begin(run, PHASE_PREPARING);
    int exit_status = STATUS_NOT_RUN;
    int status = environment_ensure(run, &exit_status, &result);
    if (status == 0)
        status = ensure_work(run);
    run->has_workspace |= status == 0;
    complete(run, exit_status, began_ms, &result);
    return status < 0 ? status : run_go_on(run);
}

/* The tests before the agent came, unless codexd knows their result. */
static int baseline(struct run *run)
{
    if (run->request.flags & SPAWN_RUN_BASELINE_KNOWN) {
        run->baseline_status = run->request.baseline_status;
        return run_go_on(run);
    }
    int64_t began_ms = clock_mono_ms();
    begin(run, PHASE_BASELINE);
    int status = test_in_new_sandbox(run, "baseline", false);
    run->baseline_status = status;
    complete(run, status < 0 ? STATUS_NOT_RUN : status, began_ms, &run->test_result);
    return status < 0 ? status : run_go_on(run);
}

/* The fault that the agent's exit status stands for; src/task/exit.h. */
static int judge_agent(struct run *run, const struct step_outcome *outcome)
{
    static const struct {
        int status;
        enum fault_kind kind;
        const char *message;
    } known[] = {
        {AGENT_EXIT_MODEL_FAILED, FAULT_MODEL,
         "the model refused the request, or failed through all retries"},
        {AGENT_EXIT_BUDGET, FAULT_LIMIT, "the task's token budget is used up"},
        {AGENT_EXIT_GAVE_UP, FAULT_AGENT, "the model went round in circles"},
        {AGENT_EXIT_BAD_INPUT, FAULT_PLATFORM, "the agent could not use its input or its journal"},
        {AGENT_EXIT_MODEL_BUSY, FAULT_MODEL,
         "the model's rate limit, quota or overload outlasted all retries"},
        {AGENT_EXIT_KEY_REFUSED, FAULT_USER, "the provider refused the model's key: check it"},
        {AGENT_EXIT_CONTEXT_FULL, FAULT_MODEL,
         "the conversation no longer fits the model's context window"},
        {AGENT_EXIT_STOPPED, FAULT_PLATFORM, "the agent was stopped by nobody we know"},
        {AGENT_EXIT_INTERNAL, FAULT_PLATFORM,
         "the agent could not keep its state: is the disk full?"},
    };
    if (outcome->status == AGENT_EXIT_DONE)
        return 0;
    if (run->stop != RUN_STOP_NONE)
        return -1;
    if (outcome->end == SANDBOX_OUT_OF_MEMORY)
        return phase_step_failed(run, "the agent", outcome);
    if (outcome->full && (outcome->status == AGENT_EXIT_INTERNAL || outcome->status > 128))
        return phase_disk_full(run, "the agent", outcome);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].status == outcome->status)
            return run_fail(run, known[i].kind, "%s", known[i].message);
    return run_fail(run, FAULT_AGENT, "the agent ended with status %d", outcome->status);
}

/* The agent at work. From the second round on it gets what the verification said. *STATUS is its
 * exit status. */
static int work(struct run *run, int *exit_status)
{
    AUTO_FD int feedback = -1;
    struct err err;
    if (run->round > 1) {
        feedback = io_memfd("feedback", run->test_result.data, run->test_result.len, &err);
        if (feedback < 0)
            return run_fail(run, FAULT_PLATFORM, "%s", err.message);
    }
    struct step step = phase_task_step(run, "run", 0);
    step.events = true;
    step.feedback_fd = feedback;
    step.soft_stop = true;
    struct step_outcome outcome;
    int status = step_run(run, run->work, &step, &outcome);
    buf_release(&outcome.result);
    *exit_status = outcome.status;
    return status < 0 ? status : judge_agent(run, &outcome);
}

/* The commit step. On a disk that is full it goes once more, into the reserve. */
static int run_commit(struct run *run, const struct step *step, struct step_outcome *outcome)
{
    int status = step_run(run, run->work, step, outcome);
    if (status < 0 || outcome->status == 0 || outcome->status == STEP_EXIT_NOTHING ||
        !outcome->full)
        return status;
    gateway_link_note(&run->gateway, run->phase,
                      "the disk is full: committing into the platform's reserve\n");
    buf_release(&outcome->result);
    sandbox_give_disk_reserve(run->work);
    return step_run(run, run->work, step, outcome);
}

/* What was done becomes a commit and the work bundle. Also after a fault, and when the run was told
 * to stop. */
static int commit(struct run *run, int *exit_status, struct buf *result)
{
    struct step step = phase_task_step(run, "commit", commit_ms);
    step.read_fd = run->fds[SPAWN_FD_BASE_BUNDLE]; /* the agent may have lost it */
    step.copy_to = run->fds[SPAWN_FD_WORK_BUNDLE];
    step.copy_max = run->request.limits.archive_bytes;
    struct step_outcome outcome;
    step.saves = true;
    run->changed = false; /* the bundle of an earlier round is written over */
    int status = run_commit(run, &step, &outcome);
    *exit_status = outcome.status;
    buf_append(result, outcome.result.data, outcome.result.len);
    buf_release(&outcome.result);
    if (status < 0 || outcome.status == STEP_EXIT_NOTHING)
        return status;
    if (outcome.copy_status == ERR_LIMIT) {
        gateway_link_limit_hit(&run->gateway, run->phase, "output",
                               run->request.limits.archive_bytes);
        return run_fail(run, FAULT_LIMIT, "the commit is larger than %llu bytes",
                        (unsigned long long)run->request.limits.archive_bytes);
    }
    if (outcome.status != 0)
        return phase_step_failed(run, "committing the work", &outcome);
    if (outcome.copy_status < 0)
        return run_fail(run, FAULT_PLATFORM, "cannot keep the commit: %s",
                        outcome.copy_err.message);
    run->changed = outcome.copied.size_bytes > 0;
    return 0;
}

/* The phase's status is the agent's when it is not 0, else the commit's. */
static int working(struct run *run)
{
    int64_t began_ms = clock_mono_ms();
    int agent_status = STATUS_NOT_RUN, commit_status = STATUS_NOT_RUN;
    AUTO_BUF struct buf result;
    buf_init(&result, STEP_RESULT_MAX);
    begin(run, PHASE_WORKING);
    run->worked = true;
    int worked = ensure_work(run);
    if (worked == 0)
        worked = work(run, &agent_status);
    int committed = ensure_work(run);
    if (committed == 0)
        committed = commit(run, &commit_status, &result);
    complete(run, agent_status ? agent_status : commit_status, began_ms, &result);
    return worked < 0 || committed < 0 ? -1 : run_go_on(run);
}

/* A run that crashed had worked, and this one is over before it could: what is in the workspace is
 * committed all the same. */
static void keep_earlier_work(struct run *run)
{
    int64_t began_ms = clock_mono_ms();
    int status = STATUS_NOT_RUN;
    AUTO_BUF struct buf result;
    buf_init(&result, STEP_RESULT_MAX);
    begin(run, PHASE_WORKING);
    if (ensure_work(run) == 0)
        commit(run, &status, &result);
    complete(run, status, began_ms, &result);
}

static int verifying(struct run *run)
{
    int64_t began_ms = clock_mono_ms();
    begin(run, PHASE_VERIFYING);
    /* Of an earlier round; should this one not come to its tests, it has none. */
    int status =
        ftruncate(run->fds[SPAWN_FD_TESTS_AFTER], 0) < 0
            ? run_fail(run, FAULT_PLATFORM, "cannot empty a list of tests: %s", strerror(errno))
            : test_in_new_sandbox(run, "verify", true);
    complete(run, status < 0 ? STATUS_NOT_RUN : status, began_ms, &run->test_result);
    return status < 0 ? status : run_go_on(run) < 0 ? -1 : status;
}

/* Whether tests that fail with STATUS now are the agent's to mend: some that did not fail in the
 * baseline, by name; or, where names are not known, all passed before it came, or there were
 * none. */
static bool is_for_the_agent(const struct run *run, int status)
{
    bool good_before =
        run->baseline_status == TEST_PASSED || run->baseline_status == TEST_NOT_FOUND;
    bool failed = status == TEST_NEWLY_FAILED ||
                  (good_before && (status == TEST_FAILED || status == TEST_TIMED_OUT));
    return failed && run->round <= run->request.verify_rounds;
}

/* The workspace as one file, then nothing is left of it but that. */
static int archive(struct run *run, int *exit_status, struct buf *result)
{
    struct step step = step_named("archive", SANDBOX_AS_ARCHIVER, archive_ms);
    step.saves = true;
    step.copy_to = run->fds[SPAWN_FD_ARCHIVE];
    step.copy_max = run->request.limits.archive_bytes;
    struct step_outcome outcome;
    int status = ensure_work(run);
    if (status < 0)
        return status;
    status = step_run(run, run->work, &step, &outcome);
    *exit_status = outcome.status;
    buf_append(result, outcome.result.data, outcome.result.len);
    buf_release(&outcome.result);
    if (status < 0)
        return status;
    if (outcome.copy_status == ERR_LIMIT)
        gateway_link_limit_hit(&run->gateway, run->phase, "output",
                               run->request.limits.archive_bytes);
    run->has_archive = outcome.status == 0 && outcome.copy_status == 0;
    if (run->has_archive)
        run->archive = outcome.copied;
    else
        gateway_link_note(&run->gateway, run->phase,
                          "the workspace could not be archived and is kept as it is: %s\n",
                          outcome.copy_status < 0 ? outcome.copy_err.message
                                                  : "the archiver failed");
    return 0;
}

static void finishing(struct run *run)
{
    int64_t began_ms = clock_mono_ms();
    int status = 0;
    AUTO_BUF struct buf result;
    buf_init(&result, STEP_RESULT_MAX);
    begin(run, PHASE_FINISHING);
    if (run->has_workspace && archive(run, &status, &result) < 0)
        status = STATUS_NOT_RUN;
    phase_close_sandbox(run, run->work);
    run->work = NULL;
    complete(run, status, began_ms, &result);
}

/* Work, and verify what came of it, until the tests pass or there are no rounds left. */
static void work_and_verify(struct run *run)
{
    for (run->round = 1;; run->round++) {
        if (working(run) < 0 || !run->changed)
            return;
        int status = verifying(run);
        if (status < 0 || !is_for_the_agent(run, status))
            return;
    }
}

void run_phases(struct run *run)
{
    run->round = 1;
    if (preparing(run) == 0 && baseline(run) == 0)
        work_and_verify(run);
    if (run->resumed && !run->worked && !run->lost)
        keep_earlier_work(run);
    if (!run->lost)
        finishing(run);
}
