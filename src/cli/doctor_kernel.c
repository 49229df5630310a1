/* What sandboxes need of the kernel, as far as it can be told without root. What root can try is
 * tried by codex-runner --check. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "cli/doctor.h"

enum { SMALL_FILE = 65536 };

static void check_release(json_t *list)
{
    struct utsname name;
    int major = 0, minor = 0;
    uname(&name);
    bool parsed = sscanf(name.release, "%d.%d", &major, &minor) == 2;
    bool new_enough = parsed && (major > 6 || (major == 6 && minor >= 1));
    check_add(list, "kernel", new_enough ? FOUND_OK : FOUND_TROUBLE,
              new_enough ? NULL : "boot Linux 6.1 or later", "Linux %s", name.release);
}

static bool overlay_is_loaded(void)
{
    AUTO_BUF struct buf filesystems;
    buf_init(&filesystems, SMALL_FILE);
    return io_read_file("/proc/filesystems", &filesystems, NULL) == 0 &&
           strstr(filesystems.data, "\toverlay\n");
}

/* Where it is a module, as in Debian's kernel, asking for one loads it: so would the first task. */
static bool overlay_loads(void)
{
    AUTO_FD int fd = fsopen("overlay", FSOPEN_CLOEXEC);
    return fd >= 0;
}

static void check_overlay(json_t *list)
{
    if (overlay_is_loaded() || overlay_loads())
        check_add(list, "overlay", FOUND_OK, NULL, "the kernel has overlay file systems");
    else if (geteuid() != 0)
        check_add(list, "overlay", FOUND_UNKNOWN, NULL,
                  "not loaded; only root can try whether it is there");
    else
        check_add(list, "overlay", FOUND_TROUBLE, "boot a kernel that has it",
                  "the kernel has no overlay file system");
}

/* Start a process in a new user namespace that waits until it is killed. Its pid, or -errno. */
static pid_t hold_user_namespace(void)
{
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0) {
        int status = unshare(CLONE_NEWUSER) < 0 ? -errno : 0;
        if (write(report[1], &status, sizeof status) != (ssize_t)sizeof status || status < 0)
            _exit(1);
        pause();
        _exit(0);
    }
    close(report[1]);
    int status = -EIO;
    if (pid < 0 || read(report[0], &status, sizeof status) != (ssize_t)sizeof status)
        status = pid < 0 ? -errno : -EIO;
    close(report[0]);
    if (pid > 0 && status < 0)
        waitpid(pid, NULL, 0);
    return status < 0 ? status : pid;
}

static void end_user_namespace(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void check_user_namespaces(json_t *list)
{
    pid_t pid = hold_user_namespace();
    if (pid > 0)
        end_user_namespace(pid);
    if (pid > 0)
        check_add(list, "user namespaces", FOUND_OK, NULL, "a new one could be made");
    else if (geteuid() != 0)
        check_add(list, "user namespaces", FOUND_UNKNOWN, NULL,
                  "not for this user (%s); codexd needs them as root", strerror(-pid));
    else
        check_add(list, "user namespaces", FOUND_TROUBLE,
                  "allow them: sysctl user.max_user_namespaces=10000", "none can be made: %s",
                  strerror(-pid));
}

void doctor_kernel(json_t *list)
{
    check_release(list);
    check_user_namespaces(list);
}

static bool is_cgroup2(const char *path)
{
    struct statfs info;
    return statfs(path, &info) == 0 && info.f_type == CGROUP2_SUPER_MAGIC;
}

/* The first of the controllers that sandboxes need which is not among the words of HAVE; NULL when
 * all are there. With HAVE NULL: which is not mounted as version 1. */
static const char *missing_controller(const char *have)
{
    static const char *const needed[] = {"memory", "pids", "cpu"};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        AUTO_FREE char *path = str_format("/sys/fs/cgroup/%s/tasks", needed[i]);
        size_t len = strlen(needed[i]);
        bool found = have ? false : access(path, F_OK) == 0;
        for (const char *p = have; p && !found && *p; p += strcspn(p, " \n"), p += *p != '\0')
            found = strcspn(p, " \n") == len && !memcmp(p, needed[i], len);
        if (!found)
            return needed[i];
    }
    return NULL;
}

static void check_unified(json_t *list, const char *controllers)
{
    const char *missing = missing_controller(controllers);
    if (missing)
        check_add(list, "cgroups", FOUND_TROUBLE,
                  "boot without cgroup_disable=, and outside a container that keeps it back",
                  "version 2, without the controller '%s'", missing);
    else
        check_add(list, "cgroups", FOUND_OK, NULL, "version 2");
}

static void check_v1(json_t *list, const char *left_on_v2)
{
    char first[64];
    snprintf(first, sizeof first, "%.*s", (int)strcspn(left_on_v2, " \n"), left_on_v2);
    const char *missing = missing_controller(NULL);
    if (*first) {
        AUTO_FREE char *remedy = str_format("make setup, or as root: mkdir /sys/fs/cgroup/%s && "
                                            "mount -t cgroup -o %s cgroup /sys/fs/cgroup/%s",
                                            first, first, first);
        check_add(list, "cgroups", FOUND_TROUBLE, remedy,
                  "hybrid, with the controller '%s' on version 2: crun refuses that", first);
    } else if (missing) {
        check_add(list, "cgroups", FOUND_TROUBLE, "mount it, or boot with cgroup version 2",
                  "version 1, without the controller '%s'", missing);
    } else {
        check_add(list, "cgroups", FOUND_OK, NULL, "version 1%s",
                  is_cgroup2("/sys/fs/cgroup/unified") ? ", beside an empty version 2" : "");
    }
}

static void check_cgroups(json_t *list)
{
    AUTO_BUF struct buf controllers;
    struct err err;
    buf_init(&controllers, SMALL_FILE);
    bool unified = is_cgroup2("/sys/fs/cgroup");
    if (unified || is_cgroup2("/sys/fs/cgroup/unified"))
        io_read_file(unified ? "/sys/fs/cgroup/cgroup.controllers"
                             : "/sys/fs/cgroup/unified/cgroup.controllers",
                     &controllers, &err);
    if (unified)
        check_unified(list, controllers.data);
    else
        check_v1(list, controllers.data);
}

void doctor_guesses(json_t *list, const char *runtime)
{
    doctor_runtime(list, runtime);
    check_overlay(list);
    check_cgroups(list);
}
