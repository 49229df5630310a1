#include "orchestrator/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/str.h"
#include "orchestrator/files.h"
#include "orchestrator/modules.h"
#include "orchestrator/run_config.h"

static const int64_t archive_max_bytes = 20LL << 30;

/* The descriptors of SPAWN_RUN, in its order. */
struct run_fds {
    int fd[SPAWN_FD_COUNT];
};

static void close_fds(struct run_fds *fds)
{
    for (size_t i = 0; i < SPAWN_FD_COUNT; i++)
        cleanup_fd(&fds->fd[i]);
}

static int open_configs(struct job *job, const struct task *task, struct run_fds *fds,
                        struct err *err)
{
    const struct config *config = job->o->config;
    const struct config_provider *provider = config_provider_find(config, task->provider);
    if (!provider)
        return err_set(err, ERR_USAGE, "there is no provider '%s' any more: submit the task again",
                       task->provider);
    const struct secrets *secrets = job->o->secrets;
    char sandbox_key[SANDBOX_KEY_SIZE];
    run_config_sandbox_key(sandbox_key);
    fds->fd[SPAWN_FD_TASK] = run_config_task(task, config, provider, sandbox_key, err);
    if (fds->fd[SPAWN_FD_TASK] < 0)
        return err->code;
    struct provider_secrets keys;
    struct err why;
    if (secrets_provider(secrets, config, provider, &keys, &why) < 0)
        return err_set(err, ERR_KEY_MISSING, "provider '%s' cannot be used: %s", provider->name,
                       why.message);
    fds->fd[SPAWN_FD_GATEWAY] = run_config_gateway(task, config, provider, &keys, sandbox_key, err);
    provider_secrets_release(&keys);
    if (fds->fd[SPAWN_FD_GATEWAY] < 0)
        return err->code;
    if (provider->wire_api == WIRE_REPLAY)
        fds->fd[SPAWN_FD_REPLAY] = secrets_open_replay(secrets, config, provider, err);
    return provider->wire_api == WIRE_REPLAY && fds->fd[SPAWN_FD_REPLAY] < 0 ? err->code : 0;
}

static int create(struct run_fds *fds, enum spawn_run_fd which, const char *path, int flags,
                  struct err *err)
{
    fds->fd[which] = files_create(path, flags, err);
    return fds->fd[which] < 0 ? fds->fd[which] : 0;
}

/* Everything but the base bundle is new: whatever an earlier run still holds is another file. */
static int open_files(struct job *job, const struct task *task, struct run_fds *fds,
                      struct err *err)
{
    const struct orchestrator *o = job->o;
    AUTO_FREE char *base = orchestrator_task_file(o, task->id, "base.bundle");
    AUTO_FREE char *work = files_work_bundle(o, task->id, task->run);
    AUTO_FREE char *archive = orchestrator_task_file(o, task->id, "archive.tar.zst");
    AUTO_FREE char *events = files_events(o, task->id, task->run);
    AUTO_FREE char *before = files_tests_before(o, task->id, task->run);
    AUTO_FREE char *after = files_tests_after(o, task->id, task->run);
    fds->fd[SPAWN_FD_BASE_BUNDLE] = open(base, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fds->fd[SPAWN_FD_BASE_BUNDLE] < 0)
        return err_errno(err, "cannot open '%s'", base);
    int status = create(fds, SPAWN_FD_WORK_BUNDLE, work, O_RDWR, err);
    if (status == 0)
        status = create(fds, SPAWN_FD_ARCHIVE, archive, O_WRONLY, err);
    if (status == 0)
        status = create(fds, SPAWN_FD_EVENTS, events, O_RDWR | O_APPEND, err);
    if (status == 0)
        status = create(fds, SPAWN_FD_TESTS_BEFORE, before, O_RDWR, err);
    if (status == 0)
        status = create(fds, SPAWN_FD_TESTS_AFTER, after, O_RDWR, err);
    return status;
}

void launch_environment(const struct job *job, const struct task *task,
                        char out[BASELINE_ENVIRONMENT_SIZE])
{
    char layer[SPAWN_LAYER_SIZE], modules[MODULES_NAME_SIZE];
    const struct config *config = job->o->config;
    job->o->placer.environment(job->o->placer.self, out);
    modules_name(job->o, task->id, modules);
    run_config_layer(task, config, modules, layer);
    size_t len = strlen(out);
    snprintf(out + len, BASELINE_ENVIRONMENT_SIZE - len, "+%.16s+%lld,%lld,%lld", layer,
             (long long)config->memory_bytes, (long long)config->cpu_milli,
             (long long)config->pids);
}

/* The baseline of this commit, from this task's earlier runs or from any other task's. */
static int known_baseline(struct job *job, const struct task *task, struct test_result *out,
                          struct err *err)
{
    char environment[BASELINE_ENVIRONMENT_SIZE];
    launch_environment(job, task, environment);
    struct store_baseline_key key = {task->repo, task->base_commit, task->test_command,
                                     environment};
    return store_baseline_get(job->o->store, &key, out, err);
}

/* What was asked for at the submission, which the server's limits may have come below since. */
static struct run_limits run_limits(const struct config *config, const struct task *task)
{
    struct run_limits limits = {
        .memory_bytes = (uint64_t)config->memory_bytes,
        .cpu_milli = (uint32_t)config->cpu_milli,
        .pids = (uint32_t)config->pids,
        .disk_bytes = (uint64_t)config->disk_bytes,
        .inodes = (uint64_t)config->inodes,
        .test_timeout_ms = config->test_timeout_ms,
        .archive_bytes = (uint64_t)archive_max_bytes,
    };
    task_limits_lower(&limits, &task->limits);
    return limits;
}

static void fill_run(struct job *job, const struct task *task, int64_t left_ms,
                     const struct test_result *baseline, struct spawn_run *run)
{
    const struct config *config = job->o->config;
    int64_t rounds = config->verify_rounds;
    *run = (struct spawn_run){
        .name = job_run_name(job),
        .verify_rounds = (uint32_t)rounds,
        .limits = run_limits(config, task),
    };
    run->limits.timeout_ms = left_ms;
    /* Rounds that earlier runs have used are used; round 1 is the first, not a repetition. */
    if (task->round > 1)
        run->verify_rounds = task->round - 1 < rounds ? (uint32_t)(rounds - task->round + 1) : 0;
    run_config_repo_name(task->repo, run->repo);
    char modules[MODULES_NAME_SIZE];
    modules_name(job->o, task->id, modules);
    run_config_layer(task, config, modules, run->layer);
    if (task->cancel_requested || task->crashes >= CRASHES_MAX || task->run >= RUNS_MAX)
        run->flags |= SPAWN_RUN_SALVAGE;
    if (config->allow_root)
        run->flags |= SPAWN_RUN_ALLOW_ROOT;
    if (baseline->known) {
        run->flags |= SPAWN_RUN_BASELINE_KNOWN;
        run->baseline_status = baseline->status;
    }
}

/* Negative: not known. */
static void append_number(struct buf *out, const char *name, int64_t value)
{
    buf_appendf(out, value < 0 ? ",\"%s\":null" : ",\"%s\":%lld", name, (long long)value);
}

/* A baseline that was known before the run is evidence like one that it found itself. */
static int record_known_baseline(struct job *job, const struct test_result *baseline,
                                 struct err *err)
{
    struct store *store = job->o->store;
    int status = store_test_set(store, job->number, STORE_TEST_BASELINE, baseline, err);
    if (status < 0)
        return status;
    AUTO_BUF struct buf members;
    buf_init(&members, 1 << 20);
    buf_appendf(
        &members,
        ",\"round\":0,\"status\":%d,\"duration_ms\":0,\"cached\":true,\"result\":{\"command\":",
        baseline->status);
    json_text_cstring(&members, baseline->command);
    buf_append_str(&members, ",\"found\":");
    json_text_cstring(&members, baseline->found);
    append_number(&members, "exit_code", baseline->exit_code);
    append_number(&members, "passed", baseline->passed);
    append_number(&members, "failed", baseline->failed);
    append_number(&members, "skipped", baseline->skipped);
    buf_append_char(&members, '}');
    struct store_event event = {.number = job->number,
                                .run = job->run,
                                .type = "phase.completed",
                                .phase = phase_name(PHASE_BASELINE),
                                .members = members.data};
    return store_event_add(store, &event, err);
}

/* From here on the run counts as handed over: it is followed, and looked for after a restart. */
static int record_handover(struct job *job, const struct task *task,
                           const struct test_result *baseline, struct err *err)
{
    struct store *store = job->o->store;
    int status = store_begin(store, STORE_NOW, err);
    if (status < 0)
        return status;
    status = store_run_set_spawned(store, job->number, job->run, err);
    if (status == 0 && baseline->known && !task->baseline.known)
        status = record_known_baseline(job, baseline, err);
    return store_end(store, status, err);
}

static int hand_over(struct job *job, const struct task *task, int64_t left_ms,
                     const struct run_fds *fds, struct err *err)
{
    struct test_result baseline;
    int status = known_baseline(job, task, &baseline, err);
    if (status < 0)
        return status;
    if (baseline.tests)
        status = io_write_all(fds->fd[SPAWN_FD_TESTS_BEFORE], baseline.tests,
                              strlen(baseline.tests), err);
    if (status == 0)
        status = record_handover(job, task, &baseline, err);
    struct spawn_run run;
    fill_run(job, task, left_ms, &baseline, &run);
    test_result_release(&baseline);
    if (status < 0)
        return status;
    job->placed = true;
    size_t count = SPAWN_FD_COUNT;
    if (fds->fd[SPAWN_FD_REPLAY] >= 0)
        run.flags |= SPAWN_RUN_WITH_REPLAY;
    else
        count = SPAWN_FD_REPLAY;
    status = job->o->placer.start(job->o->placer.self, &run, fds->fd, count, err);
    if (status < 0) {
        /* It will not come: dealt with like a run that died at once. */
        snprintf(job->why, sizeof job->why, "%s", err->message);
        job->gone = true;
        return 0;
    }
    log_info(job->id, "run %u handed over", job->run);
    return 0;
}

int launch_run(struct job *job, const struct task *task, int64_t left_ms, struct err *err)
{
    __attribute__((cleanup(close_fds))) struct run_fds fds;
    for (size_t i = 0; i < SPAWN_FD_COUNT; i++)
        fds.fd[i] = -1;
    int status = open_configs(job, task, &fds, err);
    if (status == 0)
        status = open_files(job, task, &fds, err);
    return status < 0 ? status : hand_over(job, task, left_ms, &fds, err);
}
