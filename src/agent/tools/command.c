#include "agent/tools/command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/user.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/process.h"
#include "base/str.h"

enum {
    PROCESSES_SPARED = 32, /* of pids.max, for the agent and the platform */
    OOM_SCORE_ABOVE = 300, /* of 1000: clearly the first to go */
    OOM_SCORE_MAX = 1000,
    SMALL_FILE_MAX = 64,
};

static const char OOM_SCORE_FILE[] = "/proc/self/oom_score_adj";

/* The number that is PATH's only line; negative when there is none ("max", no such file). */
static int read_number(const char *path, int64_t *number, struct err *err)
{
    AUTO_BUF struct buf text;
    buf_init(&text, SMALL_FILE_MAX);
    int status = io_read_file(path, &text, err);
    if (status < 0)
        return status;
    text.data[strcspn(text.data, "\n")] = '\0';
    if (str_parse_int(text.data, INT32_MIN, INT32_MAX, number) < 0)
        return err_set(err, -EINVAL, "'%s' holds no number", path);
    return 0;
}

static rlim_t process_limit(void)
{
    /* The sandbox has a cgroup namespace: where they can be seen, these are its own cgroup's. */
    static const char *const files[] = {"/sys/fs/cgroup/pids.max", "/sys/fs/cgroup/pids/pids.max"};
    struct rlimit own = {.rlim_max = RLIM_INFINITY};
    getrlimit(RLIMIT_NPROC, &own);
    rlim_t limit = own.rlim_max;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        int64_t max;
        struct err err;
        if (read_number(files[i], &max, &err) < 0 || max <= 0)
            continue;
        int64_t below = max > 2 * PROCESSES_SPARED ? max - PROCESSES_SPARED : max / 2;
        if ((rlim_t)below < limit)
            limit = (rlim_t)below;
    }
    return limit;
}

int command_limits_read(struct command_limits *limits, struct err *err)
{
    int64_t own;
    int status = read_number(OOM_SCORE_FILE, &own, err);
    if (status < 0)
        return status;
    int64_t above = own + OOM_SCORE_ABOVE;
    snprintf(limits->oom_score_adj, sizeof limits->oom_score_adj, "%d",
             above < OOM_SCORE_MAX ? (int)above : OOM_SCORE_MAX);
    limits->processes = process_limit();
    return 0;
}

struct start {
    const struct command *command;
    bool at_workdir; /* set by the child: what fails now is to enter it */
};

static int raise_oom_score(const char *score)
{
    int fd = open(OOM_SCORE_FILE, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int status = write(fd, score, strlen(score)) < 0 ? -errno : 0;
    close(fd);
    return status;
}

static int enter_workdir(const struct command *command)
{
    user_enter_files(command->host);
    int status = chdir(command->workdir) < 0 ? -errno : 0;
    user_leave_files(command->host);
    return status;
}

/* The user comes last: from then on other processes of it can stop this one, and us with it, since
 * we wait for its exec. */
static int prepare(void *arg)
{
    struct start *start = arg;
    const struct command *command = start->command;
    const struct rlimit processes = {command->limits->processes, command->limits->processes};
    if (command->tty && ioctl(0, TIOCSCTTY, 0) < 0)
        return -errno;
    umask(022);
    start->at_workdir = true;
    int status = enter_workdir(command);
    if (status < 0)
        return status;
    start->at_workdir = false;
    status = raise_oom_score(command->limits->oom_score_adj);
    if (status == 0 && setrlimit(RLIMIT_NPROC, &processes) < 0)
        status = -errno;
    if (status == 0)
        status = user_become(command->host);
    /* The agent's death is the command's, even where nothing else would notice it. Behind the
     * change of user, which clears this. */
    if (status == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        status = -errno;
    return status;
}

/* The pty belongs to whom the file system sees open it. */
static int open_pty(const struct tool_host *host, int *master, int *slave, struct err *err)
{
    user_enter_files(host);
    AUTO_FD int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    int status = 0;
    if (fd < 0 || unlockpt(fd) < 0)
        status = err_errno(err, "cannot open a pty");
    if (status == 0 && (*slave = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0)
        status = err_errno(err, "cannot open the pty's other end");
    user_leave_files(host);
    if (status < 0)
        return status;
    const struct winsize size = {.ws_row = 24, .ws_col = 80};
    ioctl(fd, TIOCSWINSZ, &size);
    *master = steal_fd(&fd);
    return 0;
}

static int open_pipe(int *ours, int *theirs, struct err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_errno(err, "cannot create a pipe");
    *ours = ends[0];
    *theirs = ends[1];
    io_set_nonblocking(*ours, true);
    return 0;
}

pid_t command_start(const struct command *command, int *fd, struct err *err)
{
    AUTO_FD int ours = -1;
    AUTO_FD int theirs = -1;
    int status = command->tty ? open_pty(command->host, &ours, &theirs, err)
                              : open_pipe(&ours, &theirs, err);
    if (status < 0)
        return status;
    const struct process_fd fds[] = {{theirs, 1}, {theirs, 2}, {theirs, 0}};
    struct start start = {.command = command};
    struct process_options options = {
        .argv = command->argv,
        .envp = (const char *const *)command->environment,
        .fds = fds,
        .fds_count = command->tty ? 3 : 2,
        .new_session = true,
        .share_memory = true,
        .prepare = prepare,
        .prepare_arg = &start,
    };
    pid_t pid = process_spawn(&options, err);
    if (pid < 0 && start.at_workdir)
        return err_set(err, pid, "cannot enter '%s': %s", command->workdir, strerror(-pid));
    if (pid < 0)
        return pid;
    *fd = steal_fd(&ours);
    return pid;
}
