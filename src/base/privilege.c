#include "base/privilege.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/process.h"
#include "base/sandbox_layout.h"

enum { STATUS_MAX = 4096, LOOK_EVERY_MS = 2, KILL_TIMEOUT_MS = 30000 };

/* System calls by number: the C library's setresuid() signals other threads, which a child between
 * fork and exec must not do. */
static int change_ids(uid_t uid, gid_t gid)
{
    if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, gid, gid, gid) < 0 ||
        syscall(SYS_setresuid, uid, uid, uid) < 0)
        return -errno;
    return 0;
}

int privilege_renounce(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    struct __user_cap_data_struct left[_LINUX_CAPABILITY_U32S_3];
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 ||
        syscall(SYS_capset, &header, none) < 0 || syscall(SYS_capget, &header, left) < 0)
        return -errno;
    for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
        if (left[i].effective || left[i].permitted || left[i].inheritable)
            return -EPERM;
    return 0;
}

int privilege_drop(uid_t uid, gid_t gid)
{
    if (uid == 0 || gid == 0)
        return -EINVAL;
    int status = change_ids(uid, gid);
    if (status == 0)
        status = privilege_renounce();
    if (status == 0 &&
        (syscall(SYS_setresuid, -1, 0, -1) == 0 || syscall(SYS_setresgid, -1, 0, -1) == 0))
        status = -EPERM;
    return status;
}

/* The machine's own user namespace maps everything onto itself. */
static bool in_user_namespace(void)
{
    char map[128] = "";
    int fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, map, sizeof map - 1);
    close(fd);
    unsigned long inside, outside, count;
    char *end = map;
    if (n <= 0)
        return false;
    inside = strtoul(end, &end, 10);
    outside = strtoul(end, &end, 10);
    count = strtoul(end, &end, 10);
    return !(inside == 0 && outside == 0 && count == 4294967295UL);
}

bool privilege_in_sandbox(void)
{
    static const char agent[] = SANDBOX_AGENT;
    char program[sizeof agent + 1];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program);
    return getppid() == 0 && n == (ssize_t)sizeof agent - 1 && !memcmp(program, agent, (size_t)n) &&
           in_user_namespace();
}

/* The process in the directory PID of /proc is UID's, other than a dead child of ours, who is gone
 * but for our waiting. */
static bool is_of_user(int proc, const char *pid, uid_t uid)
{
    char path[32], status[STATUS_MAX];
    snprintf(path, sizeof path, "%.20s/status", pid);
    AUTO_FD int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, status, sizeof status - 1);
    if (n <= 0)
        return false;
    status[n] = '\0';
    const char *state = strstr(status, "\nState:\t"), *parent = strstr(status, "\nPPid:\t");
    const char *user = strstr(status, "\nUid:\t");
    bool is_ours = state && parent && state[8] == 'Z' && atoi(parent + 7) == getpid();
    return user && strtoul(user + 6, NULL, 10) == uid && !is_ours;
}

static bool anybody_left(uid_t uid)
{
    AUTO_DIR DIR *proc = opendir("/proc");
    struct dirent *entry;
    while (proc && (entry = readdir(proc)))
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
            is_of_user(dirfd(proc), entry->d_name, uid))
            return true;
    return false;
}

/* As the user: as uid 0 it would end the platform's own processes too. One call is enough: the
 * kernel lets no process fork past a SIGKILL that it sends to all. What kill() returns says
 * nothing: it is 0 as long as anybody else's process exists. Returns 0, -EAGAIN when it was killed
 * itself by one of those that it was to end, or another code. */
static int send_kill(uid_t uid, gid_t gid)
{
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        if (privilege_drop(uid, gid) < 0)
            _exit(1);
        kill(-1, SIGKILL);
        _exit(0);
    }
    int status = process_wait(pid);
    return status == 0 ? 0 : status > 0 && WIFSIGNALED(status) ? -EAGAIN : -EPERM;
}

int privilege_kill_all(uid_t uid, gid_t gid)
{
    if (!privilege_in_sandbox())
        return 0;
    if (geteuid() != 0) {
        kill(-1, SIGKILL);
        return 0;
    }
    const struct timespec pause = {.tv_nsec = LOOK_EVERY_MS * 1000000L};
    int64_t until_ms = clock_mono_ms() + KILL_TIMEOUT_MS;
    for (;;) {
        int status = send_kill(uid, gid);
        if (status < 0 && status != -EAGAIN)
            return status;
        if (status == 0 && !anybody_left(uid))
            return 0;
        if (clock_mono_ms() >= until_ms)
            return -ETIMEDOUT;
        nanosleep(&pause, NULL);
    }
}

void privilege_kill_others(void)
{
    if (privilege_in_sandbox())
        kill(-1, SIGKILL);
}
