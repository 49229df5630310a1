#include "runner/spawn_check.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/str.h"
#include "sandbox/sandbox.h"

enum { COUNTER_MAX = 1000000, MILLI_MAX = 1024 * 1000, GIT_ARGS_MAX = 32, GIT_FD_MAX = 15 };
static const int64_t timeout_max_ms = 30LL * 24 * 3600 * 1000;

static bool is_terminated(const char *s, size_t size)
{
    return memchr(s, '\0', size) != NULL;
}

int spawn_check_name(const struct run_name *name, struct err *err)
{
    static const char prefix[] = "task-";
    if (!is_terminated(name->task, sizeof name->task) || !str_starts_with(name->task, prefix))
        return err_set(err, ERR_PROTOCOL, "bad task");
    const char *id = name->task + strlen(prefix);
    size_t len = strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789");
    if (len < 6 || len > 16 || id[len])
        return err_set(err, ERR_PROTOCOL, "bad task");
    if (name->turn < 1 || name->turn > COUNTER_MAX || name->attempt < 1 ||
        name->attempt > COUNTER_MAX || name->run < 1 || name->run > COUNTER_MAX)
        return err_set(err, ERR_PROTOCOL, "bad turn, attempt or run");
    return 0;
}

static int check_limits(const struct run_limits *limits, struct err *err)
{
    if (limits->memory_bytes < SANDBOX_MEMORY_MIN || limits->memory_bytes > INT64_MAX)
        return err_set(err, ERR_PROTOCOL, "bad memory limit");
    if (limits->cpu_milli > MILLI_MAX || (limits->cpu_milli && limits->cpu_milli < 10))
        return err_set(err, ERR_PROTOCOL, "bad cpu limit");
    if (limits->pids < SANDBOX_PIDS_MIN || limits->pids > SANDBOX_PIDS_MAX)
        return err_set(err, ERR_PROTOCOL, "bad pids limit");
    if (limits->disk_bytes &&
        (limits->disk_bytes < DISK_BYTES_MIN || limits->disk_bytes > DISK_BYTES_MAX))
        return err_set(err, ERR_PROTOCOL, "bad disk limit");
    if (limits->inodes && (limits->inodes < DISK_INODES_MIN || limits->inodes > DISK_INODES_MAX))
        return err_set(err, ERR_PROTOCOL, "bad limit of inodes");
    if (limits->timeout_ms < 1 || limits->timeout_ms > timeout_max_ms ||
        limits->test_timeout_ms < 1 || limits->test_timeout_ms > timeout_max_ms)
        return err_set(err, ERR_PROTOCOL, "bad time limit");
    if (limits->archive_bytes < 1 || limits->archive_bytes > INT64_MAX)
        return err_set(err, ERR_PROTOCOL, "bad archive limit");
    return 0;
}

/* One path component that a terminal and a shell take as it is. */
static bool is_component(const char *s, size_t size)
{
    if (!is_terminated(s, size) || !*s || !strcmp(s, ".") || !strcmp(s, ".."))
        return false;
    return !strchr(s, '/') && str_is_one_line(s);
}

int spawn_check_run(const struct spawn_run *run, struct err *err)
{
    int status = spawn_check_name(&run->name, err);
    if (status == 0)
        status = check_limits(&run->limits, err);
    if (status < 0)
        return status;
    if (run->flags & ~(uint32_t)(SPAWN_RUN_BASELINE_KNOWN | SPAWN_RUN_WITH_REPLAY |
                                 SPAWN_RUN_SALVAGE | SPAWN_RUN_ALLOW_ROOT))
        return err_set(err, ERR_PROTOCOL, "unknown flags");
    if (run->baseline_status < -1 || run->baseline_status > 255)
        return err_set(err, ERR_PROTOCOL, "bad baseline status");
    if (run->verify_rounds > 100)
        return err_set(err, ERR_PROTOCOL, "bad number of rounds");
    if (!is_component(run->repo, sizeof run->repo))
        return err_set(err, ERR_PROTOCOL, "bad name of the repository");
    if (!is_terminated(run->layer, sizeof run->layer) || !*run->layer ||
        run->layer[strspn(run->layer, "0123456789abcdef")])
        return err_set(err, ERR_PROTOCOL, "bad name of the environment layer");
    return 0;
}

size_t spawn_run_fds(const struct spawn_run *run)
{
    return run->flags & SPAWN_RUN_WITH_REPLAY ? SPAWN_FD_COUNT : SPAWN_FD_COUNT - 1;
}

/* The file type of FD, and how it was opened; 0 when it only names a file (O_PATH): opened anew by
 * root it would be more than codexd may have. */
static mode_t file_type(int fd, int *flags)
{
    struct stat st;
    *flags = fcntl(fd, F_GETFL);
    return *flags < 0 || *flags & O_PATH || fstat(fd, &st) < 0 ? 0 : st.st_mode & S_IFMT;
}

static bool is_sealed(int fd)
{
    static const int all = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK;
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & all) == all;
}

int spawn_check_run_fds(const int *fds, size_t count, struct err *err)
{
    static const struct {
        bool read, write, append, sealed;
    } wanted[SPAWN_FD_COUNT] = {
        [SPAWN_FD_TASK] = {.read = true, .sealed = true},
        [SPAWN_FD_GATEWAY] = {.read = true, .sealed = true},
        [SPAWN_FD_BASE_BUNDLE] = {.read = true},
        [SPAWN_FD_WORK_BUNDLE] = {.read = true, .write = true},
        [SPAWN_FD_ARCHIVE] = {.write = true},
        [SPAWN_FD_EVENTS] = {.read = true, .write = true, .append = true},
        [SPAWN_FD_TESTS_BEFORE] = {.read = true, .write = true},
        [SPAWN_FD_TESTS_AFTER] = {.read = true, .write = true},
        [SPAWN_FD_REPLAY] = {.read = true, .sealed = true},
    };
    for (size_t i = 0; i < count; i++) {
        int flags;
        bool good = file_type(fds[i], &flags) == S_IFREG;
        int access = flags & O_ACCMODE;
        if (!good || (wanted[i].read && access == O_WRONLY) ||
            (wanted[i].write && access == O_RDONLY) || (wanted[i].append && !(flags & O_APPEND)) ||
            (wanted[i].sealed && !is_sealed(fds[i])))
            return err_set(err, ERR_PROTOCOL, "descriptor %zu is not what it should be", i);
    }
    return 0;
}

int spawn_check_check_fds(const int *fds, size_t count, struct err *err)
{
    int flags;
    if (count != 1 || file_type(fds[0], &flags) != S_IFIFO || (flags & O_ACCMODE) == O_RDONLY)
        return err_set(err, ERR_PROTOCOL, "no pipe for what is found");
    return 0;
}

static bool is_seqpacket(int fd)
{
    int type;
    socklen_t size = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

int spawn_check_gateway_fds(const int *fds, size_t count, struct err *err)
{
    int events_flags, config_flags;
    if (count == SPAWN_GATEWAY_FDS && is_seqpacket(fds[SPAWN_GATEWAY_CONTROL]) &&
        file_type(fds[SPAWN_GATEWAY_EVENTS], &events_flags) == S_IFREG &&
        (events_flags & O_ACCMODE) == O_RDWR && events_flags & O_APPEND &&
        file_type(fds[SPAWN_GATEWAY_CONFIG], &config_flags) == S_IFREG &&
        (config_flags & O_ACCMODE) != O_WRONLY && is_sealed(fds[SPAWN_GATEWAY_CONFIG]))
        return 0;
    return err_set(err, ERR_PROTOCOL, "a descriptor for a gateway is not what it should be");
}

int spawn_check_git_fds(const struct spawn_git *git, const int *fds, size_t count, struct err *err)
{
    bool mirror = false;
    for (size_t i = 0; i < count; i++) {
        int flags;
        mode_t type = file_type(fds[i], &flags);
        if (git->as == SPAWN_GIT_REMOTE && git->fd_numbers[i] == SPAWN_GIT_MIRROR_FD) {
            if (type != S_IFDIR)
                return err_set(err, ERR_PROTOCOL, "descriptor %zu is no directory", i);
            mirror = true;
        } else if (type != S_IFREG && type != S_IFIFO) {
            return err_set(err, ERR_PROTOCOL, "descriptor %zu is no file and no pipe", i);
        }
    }
    return mirror || git->as != SPAWN_GIT_REMOTE ? 0
                                                 : err_set(err, ERR_PROTOCOL, "there is no mirror");
}

static int check_git_args(const struct spawn_git *git, struct err *err)
{
    if (git->argc < 1 || git->argc > GIT_ARGS_MAX)
        return err_set(err, ERR_PROTOCOL, "bad number of arguments");
    size_t at = 0;
    for (uint32_t i = 0; i < git->argc; i++) {
        size_t left = sizeof git->args - at;
        size_t len = strnlen(git->args + at, left);
        if (len == left)
            return err_set(err, ERR_PROTOCOL, "arguments not terminated");
        at += len + 1;
    }
    return 0;
}

int spawn_check_git(const struct spawn_git *git, size_t fds_count, struct err *err)
{
    if (git->as != SPAWN_GIT_ISOLATED && git->as != SPAWN_GIT_AS_SUBMITTER &&
        git->as != SPAWN_GIT_REMOTE)
        return err_set(err, ERR_PROTOCOL, "unknown way to run git");
    if (git->as == SPAWN_GIT_REMOTE && git->uid == 0)
        return err_set(err, ERR_PROTOCOL, "remote repositories are not for root");
    if (git->timeout_ms < 1 || git->timeout_ms > timeout_max_ms)
        return err_set(err, ERR_PROTOCOL, "bad time limit");
    if (git->fds_count > SPAWN_GIT_FDS_MAX || git->fds_count != fds_count)
        return err_set(err, ERR_PROTOCOL, "wrong number of descriptors");
    for (uint32_t i = 0; i < git->fds_count; i++)
        for (uint32_t j = 0; j <= i; j++)
            if (git->fd_numbers[i] > GIT_FD_MAX ||
                (j < i && git->fd_numbers[i] == git->fd_numbers[j]))
                return err_set(err, ERR_PROTOCOL, "bad descriptor numbers");
    if (!is_terminated(git->repository, sizeof git->repository) ||
        (git->as == SPAWN_GIT_AS_SUBMITTER && git->repository[0] != '/'))
        return err_set(err, ERR_PROTOCOL, "bad repository");
    return check_git_args(git, err);
}
