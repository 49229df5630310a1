#include "runner/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/process.h"
#include "base/str.h"
#include "runner/clean.h"
#include "runner/git_jail.h"
#include "runner/run.h"
#include "runner/run_dir.h"
#include "runner/shared_agent.h"
#include "runner/spawn_check.h"
#include "runner/spawner_internal.h"

/* How often runs of others (codex sandbox, an earlier spawner's) are looked after. */
enum { SWEEP_MS = 60000 };

void spawner_report(struct spawner *spawner, uint32_t type, const struct spawn_report *report)
{
    struct spawn_message message = {.magic = SPAWN_MAGIC, .type = type};
    message.body.report = *report;
    struct err err;
    /* Blocks while codexd does not read: a report that is lost would strand its task. */
    if (spawner->socket && io_send_fds(SPAWNER_FD, &message, sizeof message, NULL, 0, &err) < 0)
        log_warn("-", "cannot report to codexd: %s", err.message);
}

void spawner_fail(struct spawner *spawner, const struct run_name *name, uint32_t id,
                  const struct err *err)
{
    struct spawn_report report = {.id = id, .wait_status = err->code};
    if (name)
        report.name = *name;
    snprintf(report.message, sizeof report.message, "%.*s", (int)sizeof report.message - 1,
             err->message);
    log_warn(name ? report.name.task : "-", "%s", err->message);
    spawner_report(spawner, SPAWN_FAILED, &report);
}

static void stop_if_idle(struct spawner *spawner)
{
    if (!spawner->socket && !spawner->children)
        loop_stop(spawner->loop, 0);
}

static void close_socket(struct spawner *spawner)
{
    loop_remove(spawner->socket);
    spawner->socket = NULL;
    shutdown(SPAWNER_FD, SHUT_RDWR);
    stop_if_idle(spawner);
}

struct spawner_child *spawner_add_child(struct spawner *spawner, pid_t pid, loop_child_fn *ended,
                                        struct err *err)
{
    struct spawner_child *child = calloc(1, sizeof *child);
    if (!child)
        abort();
    child->spawner = spawner;
    child->pid = pid;
    child->source = loop_add_child(spawner->loop, pid, ended, child, err);
    if (!child->source) {
        kill(pid, SIGKILL);
        process_wait(pid);
        free(child);
        return NULL;
    }
    child->next = spawner->children;
    spawner->children = child;
    return child;
}

void spawner_remove_child(struct spawner_child *child)
{
    struct spawner *spawner = child->spawner;
    struct spawner_child **at = &spawner->children;
    while (*at != child)
        at = &(*at)->next;
    *at = child->next;
    loop_remove(child->timer);
    free(child);
    stop_if_idle(spawner);
}

static int handle(struct spawner *spawner, const struct spawn_message *message, const int *fds,
                  size_t count, struct err *err)
{
    const struct spawn_git *git = &message->body.git;
    bool with_fds = message->type == SPAWN_RUN || message->type == SPAWN_GIT ||
                    message->type == SPAWN_CHECK || message->type == SPAWN_GATEWAY;
    if (!with_fds && count)
        return err_set(err, ERR_PROTOCOL, "descriptors where none belong");
    int status;
    switch (message->type) {
    case SPAWN_RUN:
        status = spawn_check_run(&message->body.run, err);
        if (status == 0 && count != spawn_run_fds(&message->body.run))
            status = err_set(err, ERR_PROTOCOL, "wrong number of descriptors");
        if (status == 0)
            status = spawn_check_run_fds(fds, count, err);
        if (status == 0)
            spawner_start_run(spawner, &message->body.run, fds);
        return status;
    case SPAWN_CANCEL:
        status = spawn_check_name(&message->body.cancel.name, err);
        if (status == 0)
            spawner_cancel_run(spawner, &message->body.cancel.name);
        return status;
    case SPAWN_FORGET:
        status = spawn_check_name(&message->body.cancel.name, err);
        if (status == 0)
            spawner_forget_run(spawner, &message->body.cancel.name);
        return status;
    case SPAWN_GIT:
        status = spawn_check_git(git, count, err);
        if (status == 0)
            status = spawn_check_git_fds(git, fds, count, err);
        if (status == 0)
            spawner_start_git(spawner, git, fds);
        return status;
    case SPAWN_GIT_END:
        spawner_end_git(spawner, git->id);
        return 0;
    case SPAWN_CHECK:
        status = spawn_check_check_fds(fds, count, err);
        if (status == 0)
            spawner_start_check(spawner, fds[0]);
        return status;
    case SPAWN_GATEWAY:
        status = spawn_check_gateway_fds(fds, count, err);
        if (status == 0)
            spawner_start_gateway(spawner, fds);
        return status;
    }
    return err_set(err, ERR_PROTOCOL, "unknown type %u", message->type);
}

static void on_message(void *arg, uint32_t events)
{
    struct spawner *spawner = arg;
    static struct spawn_message message;
    int fds[IO_MAX_FDS];
    size_t count;
    struct err err;
    ssize_t n = io_recv_fds(SPAWNER_FD, &message, sizeof message, fds, &count, &err);
    if (n == -EAGAIN)
        return;
    int status = n < 0 ? (int)n : 0;
    if (n == 0) {
        log_info("-", "codexd is gone: staying until the last child has ended");
        close_socket(spawner);
        return;
    }
    if (status == 0 && (n != (ssize_t)sizeof message || message.magic != SPAWN_MAGIC))
        status = err_set(&err, ERR_PROTOCOL, "not a message of this build");
    if (status == 0)
        status = handle(spawner, &message, fds, count, &err);
    while (count)
        close(fds[--count]);
    if (status < 0) {
        log_error("-", "closing the connection to codexd: %s", err.message);
        close_socket(spawner);
    }
}

/* Look after a run that no child of ours executes. */
static void reconcile_one(void *arg, const char *name)
{
    struct spawner *spawner = arg;
    for (struct spawner_child *child = spawner->children; child; child = child->next)
        if (!strcmp(child->run_name, name))
            return;
    if (spawner_adopt_run(spawner, name))
        return;
    struct err err;
    if (clean_run(&spawner->clean, name, &err) < 0)
        log_warn("-", "%s", err.message);
}

static void sweep(void *arg)
{
    struct spawner *spawner = arg;
    clean_each(&spawner->clean, reconcile_one, spawner);
    loop_add_timer(spawner->loop, SWEEP_MS, sweep, spawner);
}

/* Scratch directories of spawners that have died: whose lock is free. */
static void remove_old_scratch(int scratch)
{
    AUTO_DIR DIR *stream = io_list_dir(scratch);
    if (!stream)
        return;
    struct dirent *entry;
    while ((entry = readdir(stream))) {
        if (entry->d_name[0] == '.')
            continue;
        AUTO_FD int fd =
            openat(scratch, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            io_remove_tree_at(scratch, entry->d_name, NULL);
    }
}

/* $STATE/scratch/<random>, locked for as long as we live. */
static int open_scratch(struct spawner *spawner, struct err *err)
{
    char path[PATH_MAX], id[13];
    snprintf(path, sizeof path, "%s/scratch", spawner->options->state);
    AUTO_FD int scratch = io_open_private_dir(path, err);
    if (scratch < 0)
        return scratch;
    remove_old_scratch(scratch);
    str_random_id(id, sizeof id - 1);
    snprintf(spawner->scratch, sizeof spawner->scratch, "%s/scratch/%s", spawner->options->state,
             id);
    if (mkdir(spawner->scratch, 0700) < 0)
        return err_errno(err, "cannot create '%s'", spawner->scratch);
    spawner->scratch_lock = open(spawner->scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (spawner->scratch_lock < 0 || flock(spawner->scratch_lock, LOCK_EX) < 0)
        return err_errno(err, "cannot lock '%s'", spawner->scratch);
    return 0;
}

static int open_spawner(struct spawner *spawner, struct err *err)
{
    if (geteuid() != 0)
        return err_set(err, ERR_SANDBOX, "the spawner needs root for now");
    if (fcntl(SPAWNER_FD, F_SETFD, FD_CLOEXEC) < 0)
        return err_errno(err, "no socket on descriptor %d", SPAWNER_FD);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return err_errno(err, "cannot become a subreaper");
    spawner->loop = loop_new(err);
    if (!spawner->loop)
        return err->code;
    int status = loop_reap_orphans(spawner->loop, err);
    if (status == 0)
        status = open_scratch(spawner, err);
    if (status == 0)
        status = clean_open(&spawner->clean, spawner->options->state, err);
    if (status == 0)
        status = shared_agent_open(&spawner->agent, spawner->options->agent, err);
    if (status < 0)
        return status;
    spawner->socket = loop_add_fd(spawner->loop, SPAWNER_FD, EPOLLIN, on_message, spawner, err);
    return spawner->socket ? 0 : err->code;
}

int spawner_main(const struct spawner_options *options)
{
    struct spawner spawner = {.options = options, .scratch_lock = -1};
    struct err err;
    int status = open_spawner(&spawner, &err);
    if (status == 0) {
        sweep(&spawner);
        status = loop_run(spawner.loop, &err);
    }
    if (status < 0)
        log_error("-", "%s", err.message);
    if (spawner.scratch_lock >= 0) {
        io_remove_tree_at(AT_FDCWD, spawner.scratch, NULL);
        close(spawner.scratch_lock);
    }
    spawner_drop_adopted(&spawner);
    loop_free(spawner.loop);
    return status < 0 ? 1 : 0;
}
