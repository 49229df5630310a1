/*
 * A sandbox from nothing to a waiting process 1, and back.
 *
 * Files of one are in the program's private directory, PRIVATE/<n>/: config.json, root, lower …
 * The mounts `lower` (the image), `below` (a layer over it) and `top` (what holds the writable
 * layer) carry the sandbox's ids; the overlay of all is mounted on `root`, after which they are only
 * needed by it and are detached.
 */
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/process.h"
#include "base/sandbox_layout.h"
#include "base/str.h"
#include "sandbox/cores.h"
#include "sandbox/mounts.h"
#include "sandbox/netns.h"
#include "sandbox/oci.h"
#include "sandbox/sandbox_internal.h"

/* Killing takes milliseconds; a machine that swaps may need this long. */
enum {
    TEARDOWN_MS = 10000,
    READY_MS = 30000,
    ENDING_MS = 1000,
    CONFIG_MAX = 65536,
    CORES_MAX = 8192
};

static struct sandbox *sandbox_new(struct sandbox_host *host, const struct sandbox_options *options)
{
    struct sandbox *sandbox = calloc(1, sizeof *sandbox);
    if (!sandbox)
        abort();
    *sandbox = (struct sandbox){.host = host,
                                .limits = options->limits,
                                .range.fd = -1,
                                .users_fd = -1,
                                .disk_fd = -1,
                                .init_pidfd = -1,
                                .ready_fd = -1};
    snprintf(sandbox->directory, sizeof sandbox->directory, "%s/private/%u", SANDBOX_RUN_DIR,
             host->count++);
    snprintf(sandbox->id, sizeof sandbox->id, "%s", options->name);
    snprintf(sandbox->cgroup, sizeof sandbox->cgroup, "%s/%.100s", SANDBOX_CGROUP_PARENT,
             options->name);
    sandbox->crun.program = host->runtime;
    snprintf(sandbox->crun.directory, sizeof sandbox->crun.directory, "%s", sandbox->directory);
    return sandbox;
}

static int mount_root(struct sandbox *sandbox, const struct sandbox_options *options,
                      struct err *err)
{
    char lower[PATH_MAX], below[PATH_MAX], top[PATH_MAX], root[PATH_MAX];
    sandbox_join(lower, sandbox->directory, "lower");
    sandbox_join(below, sandbox->directory, "below");
    sandbox_join(top, sandbox->directory, "top");
    sandbox_join(root, sandbox->directory, "root");
    const char *const made[] = {lower, below, top, root};
    int status = 0;
    for (size_t i = 0; status == 0 && i < sizeof made / sizeof made[0]; i++)
        status = sandbox_make_dir(made[i], 0755, err);
    const struct mounts_ids ids = {
        .host = sandbox->range.base, .count = UID_RANGE_SIZE, .owner = sandbox->range.base};
    if (status == 0)
        status = sandbox->users_fd = mounts_open_ids(&ids, err);
    if (status >= 0)
        status =
            mounts_bind_idmapped(sandbox->host->image.path, lower, sandbox->users_fd, true, err);
    if (status == 0 && options->below)
        status = mounts_bind_idmapped(options->below, below, sandbox->users_fd, true, err);
    if (status == 0)
        status = mounts_bind_idmapped(sandbox->layer, top, sandbox->users_fd, false, err);
    if (status == 0)
        status = mounts_overlay(
            &(struct mounts_overlay){.directory = sandbox->directory,
                                     .lower = options->below ? "below/upper:lower" : "lower",
                                     .upper = "top/upper",
                                     .work = "top/work",
                                     .target = "root",
                                     .owner = sandbox->range.base,
                                     .volatile_ = !options->keep},
            err);
    mounts_detach(lower);
    mounts_detach(below);
    static const char *const mount_points[] = {"dev", "proc",      "sys", "run",
                                               "tmp", "workspace", NULL};
    return status < 0 ? status : mounts_check_directories(root, mount_points, err);
}

/* The layer that takes what is written to the workspace, with the directory's mode. */
static int make_workspace_layer(const struct sandbox *sandbox, mode_t mode, struct err *err)
{
    char upper[PATH_MAX], work[PATH_MAX];
    sandbox_join(upper, sandbox->layer, "workspace-upper");
    sandbox_join(work, sandbox->layer, "workspace-work");
    int status = sandbox_make_dir(upper, 0755, err);
    if (status == 0)
        status = sandbox_make_dir(work, 0700, err);
    if (status == 0 &&
        (chown(upper, SANDBOX_UID, SANDBOX_GID) < 0 || chmod(upper, mode & 0777) < 0))
        status = err_errno(err, "cannot prepare '%s'", upper);
    return status;
}

/* Whoever owns the directory is uid 1000 inside; nobody else's files can be made or taken over
 * there. */
static int mount_workspace(struct sandbox *sandbox, const struct sandbox_options *options,
                           struct err *err)
{
    const struct sandbox_workspace *workspace = &options->workspace;
    struct stat st;
    if (stat(workspace->path, &st) < 0)
        return err_errno(err, "cannot read '%s'", workspace->path);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, ERR_USAGE, "'%s' is not a directory", workspace->path);
    char target[PATH_MAX], lower[PATH_MAX];
    sandbox_join(target, sandbox->directory, "workspace");
    sandbox_join(lower, sandbox->directory, "workspace-lower");
    int status = sandbox_make_dir(target, 0755, err);
    if (status == 0)
        status = sandbox_make_dir(lower, 0755, err);
    if (status < 0)
        return status;
    const struct mounts_ids ids = {.disk_uid = st.st_uid,
                                   .disk_gid = st.st_gid,
                                   .host = sandbox->range.base + SANDBOX_UID,
                                   .count = 1,
                                   .owner = sandbox->range.base};
    AUTO_FD int ids_fd = mounts_open_ids(&ids, err);
    if (ids_fd < 0)
        return ids_fd;
    if (workspace->write)
        return mounts_bind_idmapped(workspace->path, target, ids_fd, false, err);
    status = mounts_bind_idmapped(workspace->path, lower, ids_fd, true, err);
    if (status == 0)
        status = make_workspace_layer(sandbox, st.st_mode, err);
    if (status == 0)
        status = mounts_overlay(&(struct mounts_overlay){.directory = sandbox->directory,
                                                         .lower = "workspace-lower",
                                                         .upper = "top/workspace-upper",
                                                         .work = "top/workspace-work",
                                                         .target = "workspace",
                                                         .owner = sandbox->range.base,
                                                         .volatile_ = true},
                                err);
    mounts_detach(lower);
    return status;
}

/* Its cores, where they are limited and the machine has cpusets. The number of its ids tells it from
 * all others that live. */
static int choose_cores(struct sandbox *sandbox, struct buf *out)
{
    struct sandbox_limits *limits = &sandbox->limits;
    cpu_set_t allowed;
    cores_allowed(&allowed);
    limits->cores = limits->cpu_milli ? cores_needed(limits->cpu_milli, &allowed) : 0;
    unsigned number = (sandbox->range.base - UID_RANGE_FIRST) / UID_RANGE_SIZE;
    return sandbox->host->cgroups.cpuset < 0 ? 0
                                             : cores_append(out, &allowed, number, limits->cores);
}

static int write_config(struct sandbox *sandbox, const struct sandbox_options *options,
                        struct err *err)
{
    char workspace[PATH_MAX], target[PATH_MAX], path[PATH_MAX], users[64];
    snprintf(users, sizeof users, "/proc/%d/fd/%d", (int)getpid(), sandbox->users_fd);
    sandbox_join(workspace, sandbox->directory, "workspace");
    sandbox_join(target, SANDBOX_WORKSPACE, options->workspace.path ? options->workspace.name : "");
    AUTO_BUF struct buf config, cores;
    buf_init(&config, CONFIG_MAX);
    buf_init(&cores, CORES_MAX);
    if (choose_cores(sandbox, &cores) < 0)
        return err_set(err, -ERANGE, "the list of the sandbox's cores is too large");
    const struct oci_sandbox oci = {.root = "root",
                                    .cgroup = sandbox->cgroup,
                                    .users = users,
                                    .uid_base = sandbox->range.base,
                                    .limits = sandbox->limits,
                                    .cores = cores.len ? cores.data : NULL,
                                    .has_v1_memory = sandbox->host->cgroups.v1_memory,
                                    .agent_dir = sandbox->host->agent_dir,
                                    .workspace = options->workspace.path ? workspace : NULL,
                                    .workspace_target = target,
                                    .is_host_workspace =
                                        options->workspace.path && options->workspace.write};
    if (oci_config(&config, &oci) < 0)
        return err_set(err, -ERANGE, "the sandbox's configuration is too large");
    AUTO_FD int fd = open(sandbox_join(path, sandbox->directory, "config.json"),
                          O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, "cannot create '%s'", path);
    return io_write_all(fd, config.data, config.len, err);
}

int sandbox_read_pid(const char *file, pid_t *pid, struct err *err)
{
    AUTO_BUF struct buf text;
    buf_init(&text, 32);
    int64_t number;
    int status = io_read_file(file, &text, err);
    if (status < 0)
        return status;
    text.data[strcspn(text.data, "\n")] = '\0';
    if (str_parse_int(text.data, 1, INT32_MAX, &number) < 0)
        return err_set(err, ERR_SANDBOX, "crun wrote no process id");
    *pid = (pid_t)number;
    return 0;
}

static void init_ended(void *arg, pid_t pid, int wait_status)
{
    struct sandbox *sandbox = arg;
    sandbox->init = 0;
    sandbox->init_source = NULL;
    sandbox->init_was_killed = WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL;
}

int sandbox_failed(const struct sandbox *sandbox, struct err *err)
{
    /* Who is killed gives his namespaces back some time before he counts as ended: a moment for
     * those errors that this may have caused. */
    bool may_be_ending = err->code == ERR_SANDBOX || err->code == -ENOENT || err->code == -ESRCH;
    struct pollfd process = {.fd = sandbox->init_pidfd, .events = POLLIN};
    if (sandbox->init && may_be_ending)
        poll(&process, 1, ENDING_MS);
    /* The loop may not have told us of its end yet. */
    siginfo_t end = {0};
    bool ended = sandbox->init &&
                 waitid(P_PID, (id_t)sandbox->init, &end, WEXITED | WNOHANG | WNOWAIT) == 0 &&
                 end.si_pid != 0;
    bool killed = ended && end.si_code == CLD_KILLED && end.si_status == SIGKILL;
    if (sandbox->init_was_killed || killed)
        err->code = ERR_KILLED;
    return err->code;
}

/* `crun create` with descriptors for process 1: a pipe that it closes when it runs. */
static int run_create(struct sandbox *sandbox, const char *pid_file, struct err *err)
{
    const char *const args[] = {"--bundle", sandbox->directory, "--pid-file",
                                pid_file,   sandbox->id,        NULL};
    /* crun makes the sandbox's root the owner of what process 1 has as 0, 1 and 2, before it gives
     * up its own rights: that must not be the host's /dev/null. An empty sealed file gives and
     * takes as little. */
    AUTO_FD int nothing = io_memfd("nothing", "", 0, err);
    if (nothing < 0)
        return nothing;
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) < 0)
        return err_errno(err, "cannot create a pipe");
    sandbox->ready_fd = ready[0];
    const struct process_fd fds[] = {{nothing, 0}, {ready[1], 1}, {nothing, 2}};
    int status = crun_run(&sandbox->crun, "create", args, fds, 3, err);
    close(ready[1]);
    return status;
}

static int create_container(struct sandbox *sandbox, struct err *err)
{
    char pid_file[PATH_MAX];
    sandbox_join(pid_file, sandbox->directory, "pid");
    int status = run_create(sandbox, pid_file, err);
    if (status == 0)
        status = sandbox_read_pid(pid_file, &sandbox->init, err);
    if (status < 0)
        return status;
    sandbox->init_pidfd = (int)syscall(SYS_pidfd_open, sandbox->init, 0);
    if (sandbox->init_pidfd < 0)
        return err_errno(err, "cannot watch the sandbox's first process");
    sandbox->init_source =
        loop_add_child(sandbox->host->loop, sandbox->init, init_ended, sandbox, err);
    return sandbox->init_source ? netns_loopback_up(sandbox->init, err) : err->code;
}

static int create(struct sandbox *sandbox, const struct sandbox_options *options, struct err *err)
{
    int status = uid_range_take(&sandbox->range, SANDBOX_RUN_DIR, err);
    if (status == 0)
        status = sandbox_make_dir(sandbox->directory, 0711, err);
    if (status == 0)
        status = sandbox_layer_open(sandbox, options, err);
    if (status == 0)
        status = mount_root(sandbox, options, err);
    if (status == 0 && options->workspace.path)
        status = mount_workspace(sandbox, options, err);
    char path[PATH_MAX];
    mounts_detach(sandbox_join(path, sandbox->directory, "top"));
    mounts_detach(sandbox_join(path, sandbox->directory, "disk"));
    if (status == 0)
        status = write_config(sandbox, options, err);
    return status < 0 ? status : create_container(sandbox, err);
}

struct sandbox *sandbox_create(struct sandbox_host *host, const struct sandbox_options *options,
                               struct err *err)
{
    struct sandbox *sandbox = sandbox_new(host, options);
    if (create(sandbox, options, err) == 0)
        return sandbox;
    sandbox_failed(sandbox, err);
    err_context(err, "cannot make a sandbox");
    sandbox_free(sandbox, NULL);
    return NULL;
}

int sandbox_listen(struct sandbox *sandbox, uint16_t port, struct err *err)
{
    int status = sandbox->init ? netns_listen(sandbox->init, port, err)
                               : err_set(err, ERR_SANDBOX, "the sandbox has ended");
    return status < 0 ? sandbox_failed(sandbox, err) : status;
}

/*
 * `crun start` returns before process 1 has left crun for its own program; until then no step can
 * join its namespaces (the kernel takes it for a process of the host).
 */
static int wait_until_ready(struct sandbox *sandbox, struct err *err)
{
    struct pollfd watched = {.fd = sandbox->ready_fd, .events = POLLIN};
    int ready;
    do
        ready = poll(&watched, 1, READY_MS);
    while (ready < 0 && errno == EINTR);
    close(sandbox->ready_fd);
    sandbox->ready_fd = -1;
    if (ready <= 0)
        return err_set(err, ERR_SANDBOX, "its first process does not run");
    /* A dead one has closed it too. */
    struct pollfd process = {.fd = sandbox->init_pidfd, .events = POLLIN};
    if (poll(&process, 1, 0) != 0)
        return err_set(err, ERR_SANDBOX, "its first process has ended at once");
    return 0;
}

int sandbox_start(struct sandbox *sandbox, struct err *err)
{
    const char *const args[] = {sandbox->id, NULL};
    int status = crun_run(&sandbox->crun, "start", args, NULL, 0, err);
    if (status == 0)
        status = wait_until_ready(sandbox, err);
    if (status == 0)
        return 0;
    sandbox_failed(sandbox, err);
    return err_context(err, "cannot start the sandbox");
}

bool sandbox_is_alive(const struct sandbox *sandbox)
{
    return sandbox->init != 0 && !sandbox->was_killed;
}

void sandbox_kill(struct sandbox *sandbox)
{
    /* Process 1 of a pid namespace takes all others with it. */
    sandbox->was_killed = true;
    if (sandbox->init)
        syscall(SYS_pidfd_send_signal, sandbox->init_pidfd, SIGKILL, NULL, 0);
}

/*
 * Wait until process 1 is gone. It goes last in its pid namespace: not before everything in it has
 * been reaped, and steps are our children, not its; so are those that crun has left us without a
 * word.
 */
static void reap_all(struct sandbox *sandbox, int64_t deadline_ms)
{
    struct pollfd process = {.fd = sandbox->init_pidfd, .events = POLLIN};
    do
        loop_reap_now(sandbox->host->loop);
    while (sandbox->init && poll(&process, 1, 1) == 0 && clock_mono_ms() < deadline_ms);
    loop_reap_now(sandbox->host->loop);
}

int sandbox_free(struct sandbox *sandbox, struct err *err)
{
    if (!sandbox)
        return 0;
    int64_t deadline_ms = clock_mono_ms() + TEARDOWN_MS;
    sandbox_kill(sandbox);
    sandbox_drop_steps(sandbox);
    loop_remove(sandbox->init_source);
    reap_all(sandbox, deadline_ms);
    int status = cgroup_kill(&sandbox->host->cgroups, sandbox->cgroup, deadline_ms, err);
    loop_reap_now(sandbox->host->loop);
    if (status == 0)
        status = cgroup_remove(&sandbox->host->cgroups, sandbox->cgroup, deadline_ms, err);
    sandbox_layer_close(sandbox);
    static const char *const mounted[] = {"root", "workspace", "workspace-lower", "lower", "below",
                                          "top",  "disk"};
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof mounted / sizeof mounted[0]; i++)
        mounts_detach(sandbox_join(path, sandbox->directory, mounted[i]));
    int removed = io_remove_tree_at(AT_FDCWD, sandbox->directory, status < 0 ? NULL : err);
    if (sandbox->init_pidfd >= 0)
        close(sandbox->init_pidfd);
    if (sandbox->ready_fd >= 0)
        close(sandbox->ready_fd);
    if (sandbox->users_fd >= 0)
        close(sandbox->users_fd);
    uid_range_release(&sandbox->range);
    free(sandbox);
    return status < 0 ? status : removed;
}
