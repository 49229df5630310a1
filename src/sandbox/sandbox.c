/*
 * A sandbox from nothing to a waiting process 1, and back.
 *
 * Files of one are in the program's private directory, PRIVATE/<n>/: config.json, and what
 * sandbox_root.c puts together.
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
    return sandbox;
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
    char workspace[PATH_MAX], target[PATH_MAX], path[PATH_MAX], usr[PATH_MAX], users[64];
    snprintf(users, sizeof users, "/proc/%d/fd/%d", (int)getpid(), sandbox->users_fd);
    bool rootless = sandbox->host->rootless;
    sandbox_join(usr, sandbox->directory, "usr");
    sandbox_join(workspace, sandbox->directory, "workspace");
    sandbox_join(target, SANDBOX_WORKSPACE, options->workspace.path ? options->workspace.name : "");
    AUTO_BUF struct buf config, cores;
    buf_init(&config, CONFIG_MAX);
    buf_init(&cores, CORES_MAX);
    if (choose_cores(sandbox, &cores) < 0)
        return err_set(err, -ERANGE, "the list of the sandbox's cores is too large");
    const struct oci_sandbox oci = {.root = "root",
                                    .bundle = sandbox->directory,
                                    .cgroup = rootless ? NULL : sandbox->cgroup,
                                    .usr = rootless ? usr : NULL,
                                    .users = users,
                                    .map = sandbox->map,
                                    .map_count = sandbox->map_count,
                                    .runtime = sandbox->host->runtime.kind,
                                    .limits = sandbox->limits,
                                    .cores = cores.len ? cores.data : NULL,
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

int sandbox_run_runtime(const struct sandbox *sandbox, const char *command, const char *const *args,
                        const struct process_fd *fds, size_t fds_count,
                        const enum sandbox_profile *profile, struct err *err)
{
    const struct runtime *runtime = &sandbox->host->runtime;
    struct runtime_limit limits[RUNTIME_LIMITS_MAX];
    size_t limits_count = profile && runtime->kind->inherits_limits
                              ? oci_limits(limits, *profile, &sandbox->limits)
                              : 0;
    return runtime_run(&(struct runtime_call){.runtime = runtime,
                                              .directory = sandbox->directory,
                                              .command = command,
                                              .args = args,
                                              .fds = fds,
                                              .fds_count = fds_count,
                                              .limits = limits,
                                              .limits_count = limits_count},
                       err);
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
        return err_set(err, ERR_SANDBOX, "the OCI runtime wrote no process id");
    *pid = (pid_t)number;
    return 0;
}

static void init_ended(void *arg, pid_t pid, int wait_status)
{
    struct sandbox *sandbox = arg;
    sandbox->init = 0;
    sandbox->init_source = NULL;
    sandbox->init_has_ended = true;
    sandbox->init_was_killed = WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL;
}

int sandbox_failed(const struct sandbox *sandbox, struct err *err)
{
    /* Who is killed gives his namespaces back some time before he counts as ended: a moment for
     * those errors that this may have caused. */
    bool may_be_ending = err->code == ERR_SANDBOX || err->code == ERR_KILLED ||
                         err->code == -ENOENT || err->code == -ESRCH;
    struct pollfd process = {.fd = sandbox->init_pidfd, .events = POLLIN};
    if (sandbox->init && may_be_ending)
        poll(&process, 1, ENDING_MS);
    /* The loop may not have told us of its end yet. */
    siginfo_t end = {0};
    bool ending = sandbox->init &&
                  waitid(P_PID, (id_t)sandbox->init, &end, WEXITED | WNOHANG | WNOWAIT) == 0 &&
                  end.si_pid != 0;
    if (sandbox->init_was_killed ||
        (ending && end.si_code == CLD_KILLED && end.si_status == SIGKILL))
        err->code = ERR_KILLED;
    else if (err->code == ERR_KILLED && (ending || sandbox->init_has_ended))
        err->code = ERR_SANDBOX; /* by its own end: the kernel then kills all that has joined it */
    return err->code;
}

/* `create` with descriptors for process 1: a pipe that it closes when it runs. */
static int run_create(struct sandbox *sandbox, const char *pid_file, struct err *err)
{
    const char *const args[] = {"--bundle", sandbox->directory, "--pid-file",
                                pid_file,   sandbox->id,        NULL};
    /* The runtime makes the sandbox's root the owner of what process 1 has as 0, 1 and 2, before it gives
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
    static const enum sandbox_profile profile = SANDBOX_AS_ROOT; /* of process 1 */
    int status = sandbox_run_runtime(sandbox, "create", args, fds, 3, &profile, err);
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
    if (status == 0)
        status = cgroup_limit_tcp(&sandbox->host->cgroups, sandbox->cgroup,
                                  sandbox->limits.memory_bytes, err);
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
    int status = sandbox_open_ids(sandbox, options, err);
    if (status == 0)
        status = sandbox_make_dir(sandbox->directory, 0711, err);
    if (status == 0)
        status = sandbox_layer_open(sandbox, options, err);
    if (status == 0)
        status = sandbox_mount(sandbox, options, err);
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
 * `start` returns before process 1 has left the runtime for its own program; until then no step can
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
    int status = sandbox_run_runtime(sandbox, "start", args, NULL, 0, NULL, err);
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
 * been reaped, and steps are our children, not its; so are those that the runtime has left us without a
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
    static const char *const mounted[] = {
        "root", "workspace", "workspace-lower", "usr", "lower", "below", "top", "disk"};
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
