#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

enum { MAX_CHILD_FD = 64 };

/* Move the named descriptors into place. Sources are first copied above every target, so that one
 * mapping cannot overwrite the source of another. */
static int place_fds(const struct process_options *options, int *report_fd)
{
    int copies[MAX_CHILD_FD];
    if (options->fds_count > MAX_CHILD_FD)
        return -E2BIG;
    int moved = fcntl(*report_fd, F_DUPFD_CLOEXEC, MAX_CHILD_FD);
    if (moved < 0)
        return -errno;
    *report_fd = moved;
    int highest = 2;
    bool named[3] = {false, false, false};
    for (size_t i = 0; i < options->fds_count; i++) {
        copies[i] = fcntl(options->fds[i].from, F_DUPFD_CLOEXEC, MAX_CHILD_FD);
        if (copies[i] < 0)
            return -errno;
        if (options->fds[i].to < 3)
            named[options->fds[i].to] = true;
        if (options->fds[i].to > highest)
            highest = options->fds[i].to;
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return -errno;
    for (int fd = 0; fd < 3; fd++)
        if (!named[fd] && dup2(null, fd) < 0)
            return -errno;
    /* Everything else is shut at exec, whatever the parent had open. */
    if (syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */) < 0)
        return -errno;
    for (size_t i = 0; i < options->fds_count; i++)
        if (dup2(copies[i], options->fds[i].to) < 0)
            return -errno;
    return 0;
}

static void reset_signals(void)
{
    const struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int sig = 1; sig < NSIG; sig++)
        if (sig != SIGKILL && sig != SIGSTOP)
            sigaction(sig, &standard, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Only returns when the program cannot be run: -errno. */
static int execute(const struct process_options *options, int program_fd)
{
    char *const *argv = (char *const *)options->argv;
    char *const *envp = options->envp ? (char *const *)options->envp : environ;
    execvpe(options->program ? options->program : argv[0], argv, envp);
    if (errno == EACCES && program_fd >= 0)
        syscall(SYS_execveat, program_fd, "", argv, envp, AT_EMPTY_PATH);
    return -errno;
}

static _Noreturn void run_child(const struct process_options *options, int report_fd)
{
    reset_signals();
    if (options->new_session)
        setsid();
    int program_fd =
        options->program_fd > 0 ? fcntl(options->program_fd, F_DUPFD_CLOEXEC, MAX_CHILD_FD) : -1;
    int status = place_fds(options, &report_fd);
    if (status == 0 && options->cwd && chdir(options->cwd) < 0)
        status = -errno;
    if (status == 0 && options->prepare)
        status = options->prepare(options->prepare_arg);
    if (status == 0)
        status = execute(options, program_fd);
    ssize_t ignored = write(report_fd, &status, sizeof status);
    (void)ignored;
    _exit(127);
}

/* The child is entered with every signal blocked: a handler of ours must not run in it, least of
 * all in memory that it shares with us. */
static pid_t start_child(const struct process_options *options, int report_fd)
{
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    /* With no stack of its own the child goes on with a copy of ours: a fork() that makes
     * namespaces. */
    pid_t pid = options->namespaces
                    ? (pid_t)syscall(SYS_clone, options->namespaces | SIGCHLD, 0, 0, 0, 0)
                : options->share_memory ? vfork()
                                        : fork();
    if (pid == 0)
        run_child(options, report_fd);
    int saved = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return pid;
}

pid_t process_spawn(const struct process_options *options, struct err *err)
{
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0)
        return err_errno(err, "cannot create a pipe");
    pid_t pid = start_child(options, report[1]);
    if (pid < 0) {
        int status = err_errno(err, "cannot fork");
        close(report[0]);
        close(report[1]);
        return status;
    }
    close(report[1]);
    int status = 0;
    ssize_t n;
    do
        n = read(report[0], &status, sizeof status);
    while (n < 0 && errno == EINTR);
    close(report[0]);
    if (n == (ssize_t)sizeof status && status < 0) {
        process_wait(pid);
        errno = -status;
        return err_errno(err, "cannot run '%s'",
                         options->program ? options->program : options->argv[0]);
    }
    return pid;
}

int process_wait(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return status;
}

/* Read FD to its end: what fits goes to OUT, the rest is dropped so that the writer never
 * blocks. */
static void drain(int fd, struct buf *out)
{
    char chunk[8192];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof chunk)) > 0 || (n < 0 && errno == EINTR)) {
        if (n < 0)
            continue;
        size_t room = out->max - out->len;
        buf_append(out, chunk, (size_t)n < room ? (size_t)n : room);
    }
}

int process_run(const char *const *argv, int input, struct buf *out, struct err *err)
{
    int pipe_fds[2] = {-1, -1};
    struct process_fd fds[3];
    size_t count = 0;
    if (input >= 0)
        fds[count++] = (struct process_fd){input, 0};
    if (out) {
        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
            return err_errno(err, "cannot create a pipe");
        fds[count++] = (struct process_fd){pipe_fds[1], 1};
        fds[count++] = (struct process_fd){pipe_fds[1], 2};
    }
    struct process_options options = {.argv = argv, .fds = fds, .fds_count = count};
    pid_t pid = process_spawn(&options, err);
    if (out)
        close(pipe_fds[1]);
    if (pid > 0 && out)
        drain(pipe_fds[0], out);
    if (out)
        close(pipe_fds[0]);
    if (pid < 0)
        return pid;
    int status = process_wait(pid);
    if (status < 0)
        return err_set(err, status, "cannot wait for '%s'", argv[0]);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void process_reserve_stdio(void)
{
    /* The children that take over our standard descriptors get these too, so no O_CLOEXEC. */
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            abort();
}

const char *process_program_path(void)
{
    static char path[PATH_MAX];
    if (path[0])
        return path;
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    return path;
}

const char *process_program_dir(void)
{
    static char dir[PATH_MAX];
    if (dir[0])
        return dir;
    strcpy(dir, process_program_path());
    char *slash = strrchr(dir, '/');
    if (slash)
        *slash = '\0';
    return dir;
}

bool process_in_path(const char *path, const char *name)
{
    while (*path) {
        size_t len = strcspn(path, ":");
        AUTO_FREE char *file = str_format("%.*s/%s", (int)len, path, name);
        if (access(file, X_OK) == 0)
            return true;
        path += len + (path[len] == ':');
    }
    return false;
}
