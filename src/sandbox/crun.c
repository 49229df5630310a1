#include "sandbox/crun.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

/* crun takes some 20 ms; the minute is for a machine that swaps. */
enum { CRUN_TIMEOUT_MS = 60000, CRUN_ARGS_MAX = 24, CRUN_LOG_MAX = 16384 };

/* The last line that crun wrote, without its time stamp and level ("2026-…Z: message" and
 * alike). */
static int failure(const struct crun *crun, const char *command, const char *how, struct err *err)
{
    AUTO_BUF struct buf log;
    buf_init(&log, CRUN_LOG_MAX);
    io_read_file(crun->log, &log, NULL);
    while (log.len && (log.data[log.len - 1] == '\n' || log.data[log.len - 1] == ' '))
        log.data[--log.len] = '\0';
    const char *line = strrchr(log.data, '\n');
    line = line ? line + 1 : log.data;
    const char *text = strstr(line, "Z: ");
    text = text ? text + 3 : line;
    return err_set(err, ERR_SANDBOX, "crun %s%s%s%.400s", command, how, *text ? ": " : "", text);
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

int crun_run(const struct crun *crun, const char *command, const char *const *args,
             const struct process_fd *fds, size_t fds_count, struct err *err)
{
    const char *argv[CRUN_ARGS_MAX] = {
        crun->program, "--cgroup-manager=cgroupfs", "--root", crun->state, "--log",
        crun->log,     "--log-format=text",         command};
    size_t n = 8;
    while (*args && n < CRUN_ARGS_MAX - 1)
        argv[n++] = *args++;
    if (*args)
        return err_set(err, -E2BIG, "too many arguments for crun");
    unlink(crun->log);
    static const char *const environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    struct process_options options = {
        .argv = argv, .envp = environment, .fds = fds, .fds_count = fds_count};
    pid_t pid = process_spawn(&options, err);
    if (pid < 0)
        return err_context(err, "the OCI runtime");
    int status = wait_with_deadline(pid);
    if (status == -ETIMEDOUT)
        return failure(crun, command, " took too long", err);
    if (status != 0)
        return failure(crun, command, " failed", err);
    return 0;
}
