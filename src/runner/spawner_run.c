/* The spawner's runners: its own, and those that it found running. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/process.h"
#include "base/str.h"
#include "runner/run.h"
#include "runner/spawner_internal.h"

/* How long a runner that was just started may take to lock its run, and how often we look. */
enum { CANCEL_RETRY_MS = 20, CANCEL_TRIES = 100 };

static void name_of(char out[RUN_NAME_SIZE], const struct run_name *name)
{
    snprintf(out, RUN_NAME_SIZE, "%.*s-%u", SPAWN_TASK_SIZE, name->task, name->attempt);
}

static void clean_after(struct spawner *spawner, const char *run_name)
{
    struct err err;
    if (clean_run(&spawner->clean, run_name, &err) < 0)
        log_warn("-", "%s", err.message);
}

static void runner_ended(void *arg, pid_t pid, int wait_status)
{
    struct spawner_child *child = arg;
    struct spawner *spawner = child->spawner;
    clean_after(spawner, child->run_name);
    shared_agent_give_back(&spawner->agent, child->agent_version);
    const struct spawn_report report = {
        .name = child->name, .pid = pid, .wait_status = wait_status};
    spawner_report(spawner, SPAWN_RUN_ENDED, &report);
    spawner_remove_child(child);
}

void spawner_forget_run(struct spawner *spawner, const struct run_name *name)
{
    char run_name[RUN_NAME_SIZE];
    struct err err;
    name_of(run_name, name);
    if (clean_forgotten_run(&spawner->clean, run_name, &err) < 0)
        log_warn(name->task, "%s", err.message);
}

/* The program that we are, whatever is on disk now: both ends of the request are of one build. */
static pid_t spawn_runner(struct spawner *spawner, const struct spawn_run *run, const int *fds,
                          size_t count, const char *agent, struct err *err)
{
    const struct spawner_options *options = spawner->options;
    const char *const argv[] = {"codex-runner",
                                "--run",
                                "--state",
                                options->state,
                                "--images",
                                options->images,
                                "--runtime",
                                options->runtime,
                                "--agent",
                                agent,
                                "--gateway",
                                options->gateway,
                                NULL};
    AUTO_FD int request = io_memfd("request", run, sizeof *run, err);
    if (request < 0)
        return request;
    struct process_fd placed[SPAWN_FD_COUNT + 2] = {{STDERR_FILENO, STDERR_FILENO},
                                                    {request, RUN_FD_REQUEST}};
    for (size_t i = 0; i < count; i++)
        placed[i + 2] = (struct process_fd){fds[i], RUN_FD_FIRST + (int)i};
    return process_spawn(&(struct process_options){.argv = argv,
                                                   .program = "/proc/self/exe",
                                                   .fds = placed,
                                                   .fds_count = count + 2,
                                                   .cwd = "/",
                                                   .new_session = true},
                         err);
}

static struct spawner_child *find_run(const struct spawner *spawner, const char *run_name)
{
    struct spawner_child *child = spawner->children;
    while (child && strcmp(child->run_name, run_name) != 0)
        child = child->next;
    return child;
}

void spawner_start_run(struct spawner *spawner, const struct spawn_run *run, const int *fds)
{
    char run_name[RUN_NAME_SIZE], agent[PATH_MAX];
    struct err err;
    name_of(run_name, &run->name);
    if (find_run(spawner, run_name)) {
        err_set(&err, ERR_REFUSED, "this attempt has a runner already");
        spawner_fail(spawner, &run->name, 0, &err);
        return;
    }
    int version = shared_agent_take(&spawner->agent, agent, &err);
    if (version < 0) {
        spawner_fail(spawner, &run->name, 0, &err);
        return;
    }
    size_t count = SPAWN_FD_COUNT - (run->flags & SPAWN_RUN_WITH_REPLAY ? 0 : 1);
    pid_t pid = spawn_runner(spawner, run, fds, count, agent, &err);
    struct spawner_child *child =
        pid < 0 ? NULL : spawner_add_child(spawner, pid, runner_ended, &err);
    if (!child) {
        shared_agent_give_back(&spawner->agent, (unsigned)version);
        spawner_fail(spawner, &run->name, 0, &err);
        return;
    }
    child->name = run->name;
    child->agent_version = (unsigned)version;
    memcpy(child->run_name, run_name, sizeof run_name);
    spawner_report(spawner, SPAWN_RUN_STARTED,
                   &(struct spawn_report){.name = run->name, .pid = pid});
}

static int open_runs(const struct spawner *spawner)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/runs", spawner->options->state);
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* A descriptor of the process that holds the lock of RUN_NAME. -1: nobody does. */
static int open_holder(const struct spawner *spawner, const char *run_name)
{
    AUTO_FD int runs = open_runs(spawner);
    pid_t holder = runs < 0 ? 0 : run_dir_holder(runs, run_name);
    AUTO_FD int pidfd = holder > 0 ? (int)syscall(SYS_pidfd_open, holder, 0) : -1;
    /* The number may have become another's between the two calls. */
    if (pidfd < 0 || run_dir_holder(runs, run_name) != holder)
        return -1;
    return steal_fd(&pidfd);
}

struct cancel {
    struct spawner *spawner;
    struct run_name name;
    unsigned tries;
};

/* Tell the runner to end. A child of ours that has no lock yet would not live to hear it: once more
 * in a moment. */
static void try_cancel(void *arg)
{
    struct cancel *cancel = arg;
    char run_name[RUN_NAME_SIZE];
    name_of(run_name, &cancel->name);
    AUTO_FD int holder = open_holder(cancel->spawner, run_name);
    if (holder >= 0) {
        syscall(SYS_pidfd_send_signal, holder, SIGTERM, NULL, 0);
    } else if (find_run(cancel->spawner, run_name) && ++cancel->tries < CANCEL_TRIES) {
        loop_add_timer(cancel->spawner->loop, CANCEL_RETRY_MS, try_cancel, cancel);
        return;
    } else {
        struct err err;
        err_set(&err, ERR_NOT_FOUND, "nobody executes this run");
        spawner_fail(cancel->spawner, &cancel->name, 0, &err);
    }
    free(cancel);
}

void spawner_cancel_run(struct spawner *spawner, const struct run_name *name)
{
    struct cancel *cancel = calloc(1, sizeof *cancel);
    if (!cancel)
        abort();
    *cancel = (struct cancel){.spawner = spawner, .name = *name};
    try_cancel(cancel);
}

/* "task-abc123-1" as it is in reports, but for turn and run. false: a sandbox of a person. */
static bool parse_name(const char *run_name, struct run_name *name)
{
    const char *dash = strrchr(run_name, '-');
    int64_t attempt;
    *name = (struct run_name){0};
    if (!str_starts_with(run_name, "task-") || dash - run_name >= SPAWN_TASK_SIZE ||
        str_parse_int(dash + 1, 1, INT32_MAX, &attempt) < 0)
        return false;
    memcpy(name->task, run_name, (size_t)(dash - run_name));
    name->attempt = (uint32_t)attempt;
    return true;
}

static void drop_adopted(struct spawner_adopted *adopted)
{
    struct spawner_adopted **at = &adopted->spawner->adopted;
    while (*at != adopted)
        at = &(*at)->next;
    *at = adopted->next;
    loop_remove(adopted->source);
    close(adopted->pidfd);
    free(adopted);
}

void spawner_drop_adopted(struct spawner *spawner)
{
    while (spawner->adopted)
        drop_adopted(spawner->adopted);
}

static void adopted_ended(void *arg, uint32_t events)
{
    struct spawner_adopted *adopted = arg;
    struct spawner *spawner = adopted->spawner;
    struct spawn_report report = {.wait_status = -1};
    bool is_task = parse_name(adopted->run_name, &report.name);
    report.name.turn = adopted->turn;
    report.name.run = adopted->run;
    clean_after(spawner, adopted->run_name);
    if (is_task)
        spawner_report(spawner, SPAWN_RUN_ENDED, &report);
    drop_adopted(adopted);
}

bool spawner_adopt_run(struct spawner *spawner, const char *name)
{
    for (const struct spawner_adopted *known = spawner->adopted; known; known = known->next)
        if (!strcmp(known->run_name, name))
            return true;
    int pidfd = open_holder(spawner, name);
    if (pidfd < 0)
        return false;
    struct spawner_adopted *adopted = calloc(1, sizeof *adopted);
    if (!adopted)
        abort();
    *adopted =
        (struct spawner_adopted){.spawner = spawner, .next = spawner->adopted, .pidfd = pidfd};
    snprintf(adopted->run_name, sizeof adopted->run_name, "%s", name);
    /* Now, because another spawner may have cleaned up first when the runner has ended. */
    AUTO_FD int runs = open_runs(spawner);
    if (runs >= 0)
        run_dir_read_run(runs, name, &adopted->turn, &adopted->run);
    spawner->adopted = adopted;
    adopted->source = loop_add_fd(spawner->loop, pidfd, EPOLLIN, adopted_ended, adopted, NULL);
    return true;
}
