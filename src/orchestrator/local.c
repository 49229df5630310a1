#include "orchestrator/placer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/process.h"
#include "base/str.h"

struct placer_local {
    struct spawner *spawner;
    char *state_dir, *runtime;
    struct placer_reports reports;
};

static int start_run(void *self, const struct spawn_run *run, const int *fds, size_t count,
                     struct err *err)
{
    struct placer_local *local = self;
    struct spawn_message message = {.type = SPAWN_RUN, .body.run = *run};
    return spawner_send(local->spawner, &message, fds, count, err);
}

static int cancel_run(void *self, const struct run_name *name, struct err *err)
{
    struct placer_local *local = self;
    struct spawn_message message = {.type = SPAWN_CANCEL, .body.cancel.name = *name};
    return spawner_send(local->spawner, &message, NULL, 0, err);
}

static int forget_run(void *self, const struct run_name *name, struct err *err)
{
    struct placer_local *local = self;
    struct spawn_message message = {.type = SPAWN_FORGET, .body.cancel.name = *name};
    return spawner_send(local->spawner, &message, NULL, 0, err);
}

/* A runner holds a record lock on its lock file as long as it lives, whatever becomes of codexd. */
static pid_t find_run(void *self, const struct run_name *name, struct err *err)
{
    const struct placer_local *local = self;
    AUTO_FREE char *path =
        str_format("%s/runs/%s-%u/lock", local->state_dir, name->task, name->attempt);
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_errno(err, "cannot open '%s'", path);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_GETLK, &lock) < 0)
        return err_errno(err, "cannot ask who holds '%s'", path);
    return lock.l_type == F_UNLCK ? 0 : lock.l_pid;
}

static int check_ready(void *self, struct err *err)
{
    const struct placer_local *local = self;
    const char *path = getenv("PATH");
    bool found = strchr(local->runtime, '/')
                     ? access(local->runtime, X_OK) == 0
                     : process_in_path(path ? path : "/usr/bin:/bin", local->runtime);
    if (!found)
        return err_set(err, ERR_SANDBOX,
                       "there is no OCI runtime '%s': install it, or set runtime in [sandbox]",
                       local->runtime);
    AUTO_BUF struct buf controllers;
    buf_init(&controllers, 4096);
    if (io_read_file("/sys/fs/cgroup/unified/cgroup.controllers", &controllers, NULL) == 0 &&
        controllers.len > 1)
        return err_set(err, ERR_SANDBOX,
                       "cgroup controllers are split between v1 and v2 (%.*s): run 'make setup'",
                       (int)strcspn(controllers.data, "\n"), controllers.data);
    return 0;
}

/* The `host` image follows the host's packages, so the same package database, the same tests. */
static void name_environment(void *self, char out[PLACER_ENVIRONMENT_SIZE])
{
    struct stat status;
    if (stat("/var/lib/dpkg/status", &status) < 0)
        snprintf(out, PLACER_ENVIRONMENT_SIZE, "host");
    else
        snprintf(out, PLACER_ENVIRONMENT_SIZE, "host-%llx-%llx", (long long)status.st_mtime,
                 (long long)status.st_size);
}

static void on_report(void *arg, enum spawn_type type, const struct spawn_report *report)
{
    struct placer_local *local = arg;
    char why[600] = "";
    if (type == SPAWN_RUN_STARTED) {
        local->reports.started(local->reports.arg, &report->name);
        return;
    }
    if (type == SPAWN_FAILED) {
        local->reports.failed(local->reports.arg, &report->name, report->message);
        return;
    }
    if (WIFSIGNALED(report->wait_status))
        snprintf(why, sizeof why, "the runner was killed by signal %d",
                 WTERMSIG(report->wait_status));
    else if (WEXITSTATUS(report->wait_status))
        snprintf(why, sizeof why, "the runner ended with status %d",
                 WEXITSTATUS(report->wait_status));
    local->reports.ended(local->reports.arg, &report->name, why);
}

struct placer_local *placer_local_new(struct placer *out, struct spawner *spawner,
                                      const char *state_dir, const char *runtime,
                                      const struct placer_reports *reports)
{
    struct placer_local *local = calloc(1, sizeof *local);
    if (!local)
        abort();
    *local = (struct placer_local){.spawner = spawner,
                                   .state_dir = str_dup(state_dir),
                                   .runtime = str_dup(runtime),
                                   .reports = *reports};
    *out = (struct placer){.self = local,
                           .start = start_run,
                           .cancel = cancel_run,
                           .forget = forget_run,
                           .find = find_run,
                           .ready = check_ready,
                           .environment = name_environment};
    spawner_on_run(spawner, on_report, local);
    return local;
}

void placer_local_free(struct placer_local *local)
{
    if (!local)
        return;
    free(local->state_dir);
    free(local->runtime);
    free(local);
}
