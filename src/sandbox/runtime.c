#include "sandbox/runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"

/* A call takes some 20 ms; the minute is for a machine that swaps. */
enum { CALL_TIMEOUT_MS = 60000, ARGS_MAX = 24, LOG_MAX = 16384, SAID_MAX = 4096 };

/* Of 1.8.1. */
static const char *const lost_by_crun[] = {"sync socket", "from the init process", "fail startup",
                                           NULL};

static const struct runtime_kind kinds[] = {
    {.name = "crun",
     .major = 1,
     .minor = 8,
     .option = "--cgroup-manager=cgroupfs",
     .option_rootless = "--cgroup-manager=disabled",
     .log_message = "Z: ",
     .lost = lost_by_crun,
     .takes_bpf = true},
    {.name = "runc",
     .major = 1,
     .minor = 1,
     .log_message = " msg=\"",
     .message_is_quoted = true,
     .inherits_limits = true},
};

static const struct runtime_kind *find_kind(const char *version, unsigned *major, unsigned *minor)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t len = strlen(kinds[i].name);
        if (!strncmp(version, kinds[i].name, len) &&
            sscanf(version + len, " version %u.%u", major, minor) == 2)
            return &kinds[i];
    }
    return NULL;
}

/* SAID is all that `--version` has printed. Both programs can be built without seccomp, and say so
 * by what is not there: of crun a feature, of runc the library's version. */
static int judge(struct runtime *runtime, const char *said, struct err *err)
{
    unsigned major, minor;
    runtime->kind = find_kind(runtime->version, &major, &minor);
    if (!runtime->kind)
        return err_set(
            err, ERR_REFUSED,
            "'%s' is neither crun nor runc, and no other runtime gives a sandbox what it "
            "needs: %s",
            runtime->program, runtime->version);
    if (major < runtime->kind->major ||
        (major == runtime->kind->major && minor < runtime->kind->minor))
        return err_set(err, ERR_REFUSED, "'%s' is too old: it is %s, and %u.%u is needed",
                       runtime->program, runtime->version, runtime->kind->major,
                       runtime->kind->minor);
    if (runtime->rootless && !runtime->kind->option_rootless)
        return err_set(err, ERR_REFUSED,
                       "'%s' cannot make sandboxes without root: set runtime = crun in [sandbox]",
                       runtime->program);
    if (!strstr(said, runtime->kind->takes_bpf ? "+SECCOMP" : "\nlibseccomp: "))
        return err_set(err, ERR_REFUSED, "'%s' was built without seccomp", runtime->program);
    return 0;
}

int runtime_find(struct runtime *runtime, const char *program, bool rootless, struct err *err)
{
    const char *const argv[] = {program, "--version", NULL};
    *runtime = (struct runtime){.program = program, .rootless = rootless};
    AUTO_BUF struct buf said;
    buf_init(&said, SAID_MAX);
    /* Both make a copy of themselves whatever they are asked, in /tmp if nobody names another place,
     * and in memory when there can be none. */
    setenv("_LIBCONTAINER_STATEDIR", "/nonexistent", 1);
    int status = process_run(argv, -1, &said, err);
    unsetenv("_LIBCONTAINER_STATEDIR");
    snprintf(runtime->version, sizeof runtime->version, "%.*s", (int)strcspn(said.data, "\n"),
             said.data);
    if (status < 0)
        return err_context(err, "the OCI runtime");
    if (status != 0)
        return err_set(err, ERR_NOT_FOUND, "'%s' cannot be run: %s", program,
                       *runtime->version ? runtime->version : "it failed without a word");
    return judge(runtime, said.data, err);
}

static bool has_lost_a_process(const struct runtime_kind *kind, const char *text)
{
    for (const char *const *words = kind->lost; words && *words; words++)
        if (strstr(text, *words))
            return true;
    return false;
}

/* The last line of the runtime's log, without time stamp and level. */
static int failure(const struct runtime_call *call, const char *log_path, const char *how,
                   struct err *err)
{
    const struct runtime_kind *kind = call->runtime->kind;
    AUTO_BUF struct buf log;
    buf_init(&log, LOG_MAX);
    io_read_file(log_path, &log, NULL);
    while (log.len && strchr(" \n", log.data[log.len - 1]))
        log.data[--log.len] = '\0';
    char *line = strrchr(log.data, '\n');
    line = line ? line + 1 : log.data;
    const char *text = strstr(line, kind->log_message);
    text = text ? text + strlen(kind->log_message) : line;
    if (kind->message_is_quoted && text != line && log.data[log.len - 1] == '"')
        log.data[--log.len] = '\0';
    return err_set(err, has_lost_a_process(kind, text) ? ERR_KILLED : ERR_SANDBOX,
                   "%s %s%s%s%.400s", kind->name, call->command, how, *text ? ": " : "", text);
}

/* Wait for PID, which is killed when it takes too long. Returns the wait status, or -ETIMEDOUT. */
static int wait_with_deadline(pid_t pid)
{
    AUTO_FD int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd watched = {.fd = pidfd, .events = POLLIN};
    int ready;
    do
        ready = pidfd < 0 ? 1 : poll(&watched, 1, CALL_TIMEOUT_MS);
    while (ready < 0 && errno == EINTR);
    if (ready == 0)
        kill(pid, SIGKILL);
    int status = process_wait(pid);
    return ready == 0 ? -ETIMEDOUT : status;
}

/*
 * Whether a child of ours has been killed with SIGKILL, and nobody has taken note of it yet. A runtime
 * works in several processes: what becomes of one whose parent has gone on is ours, and the runtime
 * says only that somebody does not answer. Not every kernel lists a process's children, so all are
 * tried.
 */
static bool a_child_was_killed(void)
{
    AUTO_DIR DIR *stream = opendir("/proc");
    struct dirent *entry;
    int64_t pid;
    while (stream && (entry = readdir(stream))) {
        siginfo_t end = {0};
        if (str_parse_int(entry->d_name, 1, INT32_MAX, &pid) == 0 &&
            waitid(P_PID, (id_t)pid, &end, WEXITED | WNOHANG | WNOWAIT) == 0 && end.si_pid &&
            end.si_code == CLD_KILLED && end.si_status == SIGKILL)
            return true;
    }
    return false;
}

struct child {
    const struct runtime_call *call;
    pid_t parent;
};

static int prepare(void *arg)
{
    const struct child *child = arg;
    const struct runtime_call *call = child->call;
    for (size_t i = 0; i < call->limits_count; i++) {
        const struct rlimit limit = {call->limits[i].value, call->limits[i].value};
        if (setrlimit(call->limits[i].resource, &limit) < 0)
            return -errno;
    }
    /* Whoever is killed while the runtime works takes it along: what it would still make, nobody
     * would remove. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return -errno;
    return getppid() == child->parent ? 0 : -ESRCH;
}

/* The command line in ARGV (ARGS_MAX). */
static int make_argv(const struct runtime_call *call, const char *state, const char *log,
                     const char **argv, struct err *err)
{
    size_t n = 0;
    argv[n++] = call->runtime->program;
    const struct runtime_kind *kind = call->runtime->kind;
    const char *option = call->runtime->rootless ? kind->option_rootless : kind->option;
    if (option)
        argv[n++] = option;
    const char *const fixed[] = {"--root", state, "--log", log, "--log-format=text", call->command};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        argv[n++] = fixed[i];
    for (const char *const *arg = call->args; *arg; arg++) {
        if (n == ARGS_MAX - 1)
            return err_set(err, -E2BIG, "too many arguments for the OCI runtime");
        argv[n++] = *arg;
    }
    argv[n] = NULL;
    return 0;
}

int runtime_run(const struct runtime_call *call, struct err *err)
{
    char state[PATH_MAX], log[PATH_MAX], temporary[PATH_MAX];
    const char *argv[ARGS_MAX];
    snprintf(state, sizeof state, "%s/runtime", call->directory);
    snprintf(log, sizeof log, "%s/log", call->directory);
    /* Where it mounts itself before it goes on: else /tmp, where one that is killed leaves a file.
     */
    snprintf(temporary, sizeof temporary, "_LIBCONTAINER_STATEDIR=%s", call->directory);
    int status = make_argv(call, state, log, argv, err);
    if (status < 0)
        return status;
    unlink(log);
    const char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", temporary, NULL};
    struct child child = {call, getpid()};
    struct process_options options = {.argv = argv,
                                      .envp = environment,
                                      .fds = call->fds,
                                      .fds_count = call->fds_count,
                                      .prepare = prepare,
                                      .prepare_arg = &child};
    pid_t pid = process_spawn(&options, err);
    if (pid < 0)
        return err_context(err, "the OCI runtime");
    status = wait_with_deadline(pid);
    if (status == -ETIMEDOUT)
        return failure(call, log, " took too long", err);
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (killed || (status != 0 && a_child_was_killed()))
        return err_set(err, ERR_KILLED, "%s %s was killed", call->runtime->kind->name,
                       call->command);
    if (status != 0)
        return failure(call, log, " failed", err);
    return 0;
}
