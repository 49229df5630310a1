#include "sandbox/crun.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"

/* crun takes some 20 ms; the minute is for a machine that swaps. */
enum { CRUN_TIMEOUT_MS = 60000, CRUN_ARGS_MAX = 24, CRUN_LOG_MAX = 16384 };

/* Whether TEXT says that one of crun's own processes, which it has reaped itself, does not answer
 * any more (crun 1.8.1): somebody has ended it, who cannot be in the sandbox. */
static bool has_lost_a_process(const char *text)
{
    static const char *const words[] = {"sync socket", "from the init process", "fail startup"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strstr(text, words[i]))
            return true;
    return false;
}

/* The last line that crun wrote, without its time stamp and level ("2026-…Z: message" and alike).
 */
static int failure(const char *log_path, const char *command, const char *how, struct err *err)
{
    AUTO_BUF struct buf log;
    buf_init(&log, CRUN_LOG_MAX);
    io_read_file(log_path, &log, NULL);
    while (log.len && (log.data[log.len - 1] == '\n' || log.data[log.len - 1] == ' '))
        log.data[--log.len] = '\0';
    const char *line = strrchr(log.data, '\n');
    line = line ? line + 1 : log.data;
    const char *text = strstr(line, "Z: ");
    text = text ? text + 3 : line;
    return err_set(err, has_lost_a_process(text) ? ERR_KILLED : ERR_SANDBOX, "crun %s%s%s%.400s",
                   command, how, *text ? ": " : "", text);
}

/* Wait for PID, which is killed when it takes too long. Returns the wait status, or -ETIMEDOUT. */
static int wait_with_deadline(pid_t pid)
{
    AUTO_FD int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd watched = {.fd = pidfd, .events = POLLIN};
    int ready;
    do
        ready = pidfd < 0 ? 1 : poll(&watched, 1, CRUN_TIMEOUT_MS);
    while (ready < 0 && errno == EINTR);
    if (ready == 0)
        kill(pid, SIGKILL);
    int status = process_wait(pid);
    return ready == 0 ? -ETIMEDOUT : status;
}

/*
 * Whether a child of ours has been killed with SIGKILL, and nobody has taken note of it yet. crun
 * works in several processes: what becomes of one whose parent has gone on is ours, and crun says
 * only that somebody does not answer. Not every kernel lists a process's children, so all are tried.
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

/* Whoever is killed while crun works takes it along: what it would still make, nobody would remove.
 */
static int die_with_parent(void *arg)
{
    const pid_t *parent = arg;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return -errno;
    return getppid() == *parent ? 0 : -ESRCH;
}

int crun_run(const struct crun *crun, const char *command, const char *const *args,
             const struct process_fd *fds, size_t fds_count, struct err *err)
{
    char state[PATH_MAX], log[PATH_MAX], temporary[PATH_MAX];
    snprintf(state, sizeof state, "%s/crun", crun->directory);
    snprintf(log, sizeof log, "%s/log", crun->directory);
    /* Where it mounts itself before it goes on: else /tmp, where one that is killed leaves a file.
     */
    snprintf(temporary, sizeof temporary, "_LIBCONTAINER_STATEDIR=%s", crun->directory);
    const char *argv[CRUN_ARGS_MAX] = {
        crun->program, "--cgroup-manager=cgroupfs", "--root", state, "--log",
        log,           "--log-format=text",         command};
    size_t n = 8;
    while (*args && n < CRUN_ARGS_MAX - 1)
        argv[n++] = *args++;
    if (*args)
        return err_set(err, -E2BIG, "too many arguments for crun");
    unlink(log);
    const char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", temporary, NULL};
    pid_t self = getpid();
    struct process_options options = {.argv = argv,
                                      .envp = environment,
                                      .fds = fds,
                                      .fds_count = fds_count,
                                      .prepare = die_with_parent,
                                      .prepare_arg = &self};
    pid_t pid = process_spawn(&options, err);
    if (pid < 0)
        return err_context(err, "the OCI runtime");
    int status = wait_with_deadline(pid);
    if (status == -ETIMEDOUT)
        return failure(log, command, " took too long", err);
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (killed || (status != 0 && a_child_was_killed()))
        return err_set(err, ERR_KILLED, "crun %s was killed", command);
    if (status != 0)
        return failure(log, command, " failed", err);
    return 0;
}
