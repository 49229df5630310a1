/* The frame of a run: what it needs, how it is stopped, how its end is told. */
#include "runner/run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "runner/run_internal.h"
#include "runner/spawn_check.h"

/* How long an agent that was told to end may take for it, and a lock that somebody cleans up
 * under. */
enum { SOFT_STOP_MS = 5000, LOCK_WAIT_MS = 15000 };

int run_fail(struct run *run, enum fault_kind kind, const char *format, ...)
{
    if (run->fault.kind != FAULT_NONE || run->lost)
        return -1;
    run->fault.kind = kind;
    run->fault.phase = run->phase;
    va_list args;
    va_start(args, format);
    vsnprintf(run->fault.message, sizeof run->fault.message, format, args);
    va_end(args);
    log_warn(run->request.name.task, "%s: %s", phase_name(run->phase), run->fault.message);
    return -1;
}

int run_lose(struct run *run, const char *why)
{
    if (run->fault.kind != FAULT_NONE || run->lost)
        return -1;
    run->lost = true;
    log_warn(run->request.name.task, "%s: %s", phase_name(run->phase), why);
    gateway_link_note(&run->gateway, run->phase, "this run is over: %s\n", why);
    return -1;
}

int run_fail_by(struct run *run, const struct err *err)
{
    return err->code == ERR_KILLED ? run_lose(run, err->message)
                                   : run_fail(run, FAULT_PLATFORM, "%s", err->message);
}

static void on_step_deadline(void *arg)
{
    struct run *run = arg;
    run->step_deadline = NULL;
    if (run->step > 0)
        kill(run->step, SIGKILL);
}

/* What was done is kept: only what is being done is ended. Committing and archiving go on. */
static void stop(struct run *run, enum run_stop why)
{
    if (run->stop != RUN_STOP_NONE)
        return;
    run->stop = why;
    run->stopped_in = run->phase;
    if (run->step <= 0 || run->phase == PHASE_FINISHING)
        return;
    if (run->phase != PHASE_WORKING)
        kill(run->step, SIGKILL);
    else if (run->soft_stop && kill(run->step, SIGTERM) == 0)
        run->step_deadline = loop_add_timer(run->loop, SOFT_STOP_MS, on_step_deadline, run);
}

static void on_cancel(void *arg, int signal)
{
    stop(arg, RUN_STOP_CANCELLED);
}

static void on_wall_time(void *arg)
{
    struct run *run = arg;
    gateway_link_limit_hit(&run->gateway, run->phase, "time",
                           (uint64_t)run->request.limits.timeout_ms);
    stop(run, RUN_STOP_TIME);
}

static int read_request(struct run *run, struct err *err)
{
    AUTO_BUF struct buf bytes;
    buf_init(&bytes, sizeof run->request);
    if (lseek(RUN_FD_REQUEST, 0, SEEK_SET) < 0)
        return err_errno(err, "no request on descriptor %d", RUN_FD_REQUEST);
    int status = io_read_all(RUN_FD_REQUEST, &bytes, err);
    if (status < 0)
        return status;
    if (bytes.len != sizeof run->request)
        return err_set(err, ERR_PROTOCOL, "the request is not a struct spawn_run");
    memcpy(&run->request, bytes.data, sizeof run->request);
    status = spawn_check_run(&run->request, err);
    if (status < 0)
        return status;
    for (int i = 0; i < SPAWN_FD_COUNT; i++) {
        bool given = i != SPAWN_FD_REPLAY || (run->request.flags & SPAWN_RUN_WITH_REPLAY);
        run->fds[i] = given ? RUN_FD_FIRST + i : -1;
        if (given && fcntl(run->fds[i], F_SETFD, FD_CLOEXEC) < 0)
            return err_errno(err, "descriptor %d is missing", run->fds[i]);
    }
    fcntl(RUN_FD_REQUEST, F_SETFD, FD_CLOEXEC);
    snprintf(run->name, sizeof run->name, "%s-%u", run->request.name.task,
             run->request.name.attempt);
    return 0;
}

static void report_image(void *arg, unsigned percent, uint64_t entries)
{
    struct run *run = arg;
    if (percent % 10 == 0)
        gateway_link_note(&run->gateway, PHASE_PREPARING,
                          "making the sandbox image, once: %u%% (%llu files)\n", percent,
                          (unsigned long long)entries);
}

static int write_status(struct run *run, const char *phase, const char *outcome, bool keep,
                        struct err *err)
{
    const struct run_name *name = &run->request.name;
    return run_dir_write_status(&run->dir,
                                &(struct run_status){.phase = phase,
                                                     .turn = name->turn,
                                                     .attempt = name->attempt,
                                                     .run = name->run,
                                                     .outcome = outcome,
                                                     .keep_workspace = keep},
                                err);
}

/* The gateway comes first: it starts while we make the sandbox. */
static int open_run(struct run *run, struct err *err)
{
    const struct run_options *options = run->options;
    int status = run_dir_take(&run->dir, options->state, run->name, LOCK_WAIT_MS, err);
    /* Before there is a workspace: one without a status is taken for left over. */
    if (status == 0)
        status = write_status(run, "started", NULL, true, err);
    if (status < 0)
        return status;
    status =
        gateway_link_open(&run->gateway, run->loop,
                          &(struct gateway_link_options){.program = options->gateway,
                                                         .task = run->request.name.task,
                                                         .events_fd = run->fds[SPAWN_FD_EVENTS],
                                                         .config_fd = run->fds[SPAWN_FD_GATEWAY],
                                                         .replay_fd = run->fds[SPAWN_FD_REPLAY]},
                          err);
    snprintf(run->sandboxes, sizeof run->sandboxes, "%s/sandboxes", options->state);
    AUTO_FD int parent = status < 0 ? status : io_open_private_dir(run->sandboxes, err);
    if (parent < 0)
        return parent;
    if (snprintf(run->sandboxes, sizeof run->sandboxes, "%s/sandboxes/%s/work", options->state,
                 run->name) >= (int)sizeof run->sandboxes)
        return err_set(err, -ENAMETOOLONG, "path too long");
    run->has_workspace = run->resumed = access(run->sandboxes, F_OK) == 0;
    *strrchr(run->sandboxes, '/') = '\0';
    return io_make_dirs(run->sandboxes, 0700, err);
}

/* Make this machine ready for sandboxes; what is missing fails the run, with an event that says
 * so. */
static void execute(struct run *run)
{
    struct err err;
    const struct sandbox_host_options host = {.images = run->options->images,
                                              .runtime = run->options->runtime,
                                              .agent = run->options->agent,
                                              .agent_is_shared = true,
                                              .progress = report_image,
                                              .progress_arg = run};
    run->phase = PHASE_PREPARING;
    if (run->request.flags & SPAWN_RUN_SALVAGE) /* as one that is cancelled before it works */
        stop(run, RUN_STOP_CANCELLED);
    if (sandbox_host_open(&run->host, run->loop, &host, &err) < 0) {
        run_fail(run, FAULT_PLATFORM, "%s", err.message);
        return;
    }
    run_phases(run);
}

static enum run_outcome judge(struct run *run)
{
    if (run->stop == RUN_STOP_TIME) {
        run->phase = run->stopped_in;
        run_fail(run, FAULT_LIMIT, "the task's time limit of %lld s is over",
                 (long long)(run->request.limits.timeout_ms / 1000));
    }
    if (run->fault.kind != FAULT_NONE)
        return RUN_FAILED;
    return run->stop == RUN_STOP_CANCELLED ? RUN_CANCELLED : RUN_DONE;
}

/* Tell the end, and wait until it is in the event file. 0 when it is. */
static int tell_end(struct run *run, enum run_outcome outcome, struct err *err)
{
    struct gateway_control ended = {.outcome = outcome,
                                    .fault = outcome == RUN_FAILED ? run->fault.kind : FAULT_NONE,
                                    .phase = outcome == RUN_FAILED ? run->fault.phase : run->phase,
                                    .changed = run->changed,
                                    .has_archive = run->has_archive,
                                    .archive_size = run->archive.size_bytes};
    memcpy(ended.archive_sha256, run->archive.sha256, sizeof ended.archive_sha256);
    gateway_link_run_ended(&run->gateway, &ended, outcome == RUN_FAILED ? run->fault.message : "");
    while (!run->gateway.written && !run->gateway.broken)
        if (loop_run_once(run->loop, -1, err) < 0)
            return err->code;
    return run->gateway.broken ? err_set(err, -EPIPE, "%s", run->gateway.err.message) : 0;
}

/* Only now that the end is told may the workspace go; until then another run could need it. */
static void release_files(struct run *run, enum run_outcome outcome, bool told)
{
    bool keep = run->has_workspace && !run->has_archive;
    struct err err;
    if (told && write_status(run, "ended", run_outcome_name(outcome), keep, &err) < 0)
        log_warn(run->request.name.task, "%s", err.message);
    if (told && !keep && io_remove_tree_at(AT_FDCWD, run->sandboxes, &err) < 0)
        log_warn(run->request.name.task, "left to the spawner: %s", err.message);
    run_dir_release(&run->dir, false);
}

static int run_it(struct run *run)
{
    struct err err;
    int status = open_run(run, &err);
    struct loop_source *wall = NULL;
    enum run_outcome outcome = RUN_FAILED;
    if (status == 0) {
        wall = loop_add_timer(run->loop, run->request.limits.timeout_ms, on_wall_time, run);
        execute(run);
        outcome = judge(run);
        status = run->lost ? err_set(&err, ERR_KILLED, "the next run goes on")
                           : tell_end(run, outcome, &err);
    }
    (void)wall; /* gone with the loop */
    if (status < 0)
        log_error(run->request.name.task, "%s", err.message);
    release_files(run, outcome, status == 0);
    gateway_link_close(&run->gateway);
    return status < 0 ? 1 : 0;
}

int run_main(const struct run_options *options)
{
    struct run run = {.options = options,
                      .dir = {.dir_fd = -1, .lock_fd = -1, .runs_fd = -1},
                      .host.image.lock_fd = -1,
                      .layer.lock_fd = -1};
    gateway_link_init(&run.gateway);
    buf_init(&run.test_result, STEP_RESULT_MAX);
    struct err err;
    int status = read_request(&run, &err);
    run.loop = status < 0 ? NULL : loop_new(&err);
    if (!run.loop || loop_add_signal(run.loop, SIGTERM, on_cancel, &run, &err) < 0) {
        log_error("-", "%s", err.message);
        loop_free(run.loop);
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    status = run_it(&run);
    layer_release(&run.layer);
    sandbox_host_release(&run.host);
    buf_release(&run.test_result);
    loop_free(run.loop);
    return status;
}
