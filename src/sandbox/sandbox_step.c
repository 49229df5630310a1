/* Steps: commands in a sandbox, by `exec` of the runtime with a process.json of their own. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/sandbox_layout.h"
#include "sandbox/oci.h"
#include "sandbox/sandbox_internal.h"

/* What argv and environment of a command may have together, escaped (Linux itself takes 2 MiB). */
enum { PROCESS_MAX = 4 << 20 };

struct sandbox_running {
    struct sandbox *sandbox;
    struct sandbox_running *next;
    pid_t pid;
    struct loop_source *child, *timer;
    struct cgroup_counts before;
    int64_t began_ms;
    bool timed_out;
    sandbox_step_fn *fn;
    void *arg;
};

static void unlink_step(struct sandbox_running *step)
{
    struct sandbox_running **at = &step->sandbox->steps;
    while (*at != step)
        at = &(*at)->next;
    *at = step->next;
    loop_remove(step->child);
    loop_remove(step->timer);
}

static enum sandbox_end how_it_ended(const struct sandbox_running *step, int wait_status,
                                     uint64_t oom_kills)
{
    bool killed = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) == SIGKILL
                                           : WEXITSTATUS(wait_status) == 128 + SIGKILL;
    if (step->timed_out)
        return SANDBOX_TIMED_OUT;
    if (killed && oom_kills)
        return SANDBOX_OUT_OF_MEMORY;
    return WIFSIGNALED(wait_status) ? SANDBOX_SIGNALLED : SANDBOX_EXITED;
}

static void step_ended(void *arg, pid_t pid, int wait_status)
{
    struct sandbox_running *step = arg;
    struct sandbox *sandbox = step->sandbox;
    struct cgroup_counts now;
    cgroup_read_counts(&sandbox->host->cgroups, sandbox->cgroup, &now);
    struct sandbox_result result = {
        .status = WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status),
        .duration_ms = clock_mono_ms() - step->began_ms,
        .oom_kills = now.oom_kills - step->before.oom_kills,
        .pids_denied = now.pids_denied - step->before.pids_denied,
    };
    result.end = how_it_ended(step, wait_status, result.oom_kills);
    step->child = NULL; /* gone with this call */
    unlink_step(step);
    step->fn(step->arg, &result);
    free(step);
}

static void step_timed_out(void *arg)
{
    struct sandbox_running *step = arg;
    step->timer = NULL;
    step->timed_out = true;
    kill(step->pid, SIGKILL);
}

void sandbox_drop_steps(struct sandbox *sandbox)
{
    while (sandbox->steps) {
        struct sandbox_running *step = sandbox->steps;
        unlink_step(step);
        free(step);
    }
}

static int write_process(struct sandbox *sandbox, const struct sandbox_step *step, const char *path,
                         struct err *err)
{
    AUTO_BUF struct buf process;
    buf_init(&process, PROCESS_MAX);
    bool inherits = sandbox->host->runtime.kind->inherits_limits;
    if (oci_process(&process, step, &sandbox->limits, inherits) < 0)
        return err_set(err, ERR_LIMIT, "the command line is too long");
    AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, "cannot create '%s'", path);
    return io_write_all(fd, process.data, process.len, err);
}

/* So that /dev/stdout and its like can be opened, a pipe has to belong to who runs the step. Files
 * of the host stay whose they are. */
static void give_pipes(const struct sandbox *sandbox, const struct sandbox_step *step)
{
    uid_t owner = sandbox_outer_uid(sandbox, step->profile == SANDBOX_AS_USER ? SANDBOX_UID : 0);
    for (size_t i = 0; i < step->fds_count; i++) {
        struct statfs fs;
        if (fstatfs(step->fds[i].from, &fs) == 0 && fs.f_type == PIPEFS_MAGIC &&
            fchown(step->fds[i].from, owner, owner) < 0)
            continue; /* then only opening it anew fails, which few programs do */
    }
}

/*
 * The step's descriptors in FDS, and how many from 3 on crun has to leave open: it takes no list.
 * What is free among them gets NOTHING, an empty file: crun 1.8.1 would leave there what it happens
 * to open itself, such as its log.
 */
static int place_fds(const struct sandbox_step *step, int nothing,
                     struct process_fd fds[SANDBOX_STEP_FDS], size_t *count, unsigned *preserved,
                     struct err *err)
{
    int from[SANDBOX_STEP_FDS], highest = 2;
    for (int to = 0; to < SANDBOX_STEP_FDS; to++)
        from[to] = -1;
    for (size_t i = 0; i < step->fds_count; i++) {
        int to = step->fds[i].to;
        if (to < 0 || to >= SANDBOX_STEP_FDS)
            return err_set(err, -EBADF, "a step cannot have descriptor %d", to);
        from[to] = step->fds[i].from;
        highest = to > highest ? to : highest;
    }
    *count = 0;
    for (int to = 0; to <= highest; to++)
        if (from[to] >= 0 || to > 2)
            fds[(*count)++] = (struct process_fd){from[to] >= 0 ? from[to] : nothing, to};
    *preserved = (unsigned)highest - 2;
    return 0;
}

static int run_exec(struct sandbox *sandbox, const struct sandbox_step *step, const char *process,
                    const char *pid_file, struct err *err)
{
    AUTO_FD int nothing = io_memfd("nothing", "", 0, err);
    struct process_fd fds[SANDBOX_STEP_FDS];
    size_t count = 0;
    unsigned preserved = 0;
    int status = nothing < 0 ? nothing : place_fds(step, nothing, fds, &count, &preserved, err);
    if (status < 0)
        return status;
    char preserve[32];
    snprintf(preserve, sizeof preserve, "--preserve-fds=%u", preserved);
    const char *args[12] = {"--detach", "--process", process, "--pid-file", pid_file, preserve};
    size_t n = 6;
    if (step->console) {
        args[n++] = "--console-socket";
        args[n++] = step->console;
    }
    args[n++] = sandbox->id;
    give_pipes(sandbox, step);
    return sandbox_run_runtime(sandbox, "exec", args, fds, count, &step->profile, err);
}

static int watch_step(struct sandbox *sandbox, const struct sandbox_step *step,
                      struct sandbox_running *running, struct err *err)
{
    struct loop *loop = sandbox->host->loop;
    running->child = loop_add_child(loop, running->pid, step_ended, running, err);
    if (!running->child)
        return err->code;
    if (step->timeout_ms > 0)
        running->timer = loop_add_timer(loop, step->timeout_ms, step_timed_out, running);
    running->next = sandbox->steps;
    sandbox->steps = running;
    return 0;
}

pid_t sandbox_exec(struct sandbox *sandbox, const struct sandbox_step *step, sandbox_step_fn *fn,
                   void *arg, struct err *err)
{
    char process[128], pid_file[128];
    unsigned number = sandbox->steps_count++;
    snprintf(process, sizeof process, "%s/process-%u.json", sandbox->directory, number);
    snprintf(pid_file, sizeof pid_file, "%s/pid-%u", sandbox->directory, number);
    struct sandbox_running *running = calloc(1, sizeof *running);
    if (!running)
        abort();
    *running = (struct sandbox_running){
        .sandbox = sandbox, .began_ms = clock_mono_ms(), .fn = fn, .arg = arg};
    cgroup_read_counts(&sandbox->host->cgroups, sandbox->cgroup, &running->before);
    int status = write_process(sandbox, step, process, err);
    if (status == 0)
        status = run_exec(sandbox, step, process, pid_file, err);
    if (status == 0)
        status = sandbox_read_pid(pid_file, &running->pid, err);
    if (status == 0)
        status = watch_step(sandbox, step, running, err);
    unlink(process);
    unlink(pid_file);
    if (status < 0) {
        free(running);
        sandbox_failed(sandbox, err);
        return err_context(err, "cannot run '%s' in the sandbox", step->argv[0]);
    }
    return running->pid;
}
