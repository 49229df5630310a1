#include "sandbox/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/process.h"

int mounts_make_private(const char *directory, size_t size_bytes, struct err *err)
{
    int status = io_make_dirs(directory, 0755, err);
    if (status < 0)
        return status;
    if (unshare(CLONE_NEWNS) < 0)
        return err_errno(err, "cannot make a mount namespace");
    /* Ours stay ours; what the host mounts and unmounts later still comes in, so that we keep no
     * disk busy. */
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return err_errno(err, "cannot make the mounts private");
    char options[64];
    snprintf(options, sizeof options, "size=%zu,mode=711", size_bytes);
    if (mount("codex", directory, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
        return err_errno(err, "cannot mount a tmpfs on '%s'", directory);
    return 0;
}

/* The kernel takes a map in one write. */
static int write_map(pid_t pid, const char *file, const struct mounts_extent *map, size_t count)
{
    char path[64], text[MOUNTS_EXTENTS_MAX * 40];
    size_t len = 0;
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    for (size_t i = 0; i < count; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%u %u %u\n", map[i].inside,
                                map[i].outside, map[i].count);
    AUTO_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, text, len) == (ssize_t)len ? 0 : -1;
}

/* In the child: become OWNER with all capabilities (some systems want one for this), make the
 * namespace, say so, and wait. */
static void hold_namespace(uid_t owner, int ready, pid_t parent)
{
    if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) < 0 ||
        syscall(SYS_setresgid, owner, owner, owner) < 0 ||
        syscall(SYS_setresuid, owner, owner, owner) < 0 || unshare(CLONE_NEWUSER) < 0)
        _exit(1);
    /* Behind the change of ids, which takes this back. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent || write(ready, "", 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

static pid_t make_namespace(uid_t owner, struct err *err)
{
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) < 0)
        return err_errno(err, "cannot create a pipe");
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        hold_namespace(owner, ready[1], parent);
    int problem = errno;
    close(ready[1]);
    char byte;
    ssize_t n = pid < 0 ? 0 : TEMP_FAILURE_RETRY(read(ready[0], &byte, 1));
    close(ready[0]);
    if (n == 1)
        return pid;
    if (pid > 0)
        process_wait(pid);
    return pid < 0 ? err_set(err, -problem, "cannot fork: %s", strerror(problem))
                   : err_set(err, ERR_SANDBOX, "cannot make a user namespace");
}

/* A child holds the namespace open just long enough to be given the map. */
static int open_namespace(uid_t owner, const struct mounts_extent *users,
                          const struct mounts_extent *groups, size_t count, struct err *err)
{
    pid_t pid = make_namespace(owner, err);
    if (pid < 0)
        return pid;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
    int fd = -1;
    if (write_map(pid, "uid_map", users, count) == 0 &&
        write_map(pid, "gid_map", groups, count) == 0)
        fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fd = err_errno(err, "cannot map ids");
    kill(pid, SIGKILL);
    process_wait(pid);
    return fd;
}

int mounts_open_ids(const struct mounts_ids *ids, struct err *err)
{
    const struct mounts_extent users = {ids->disk_uid, ids->host, ids->count};
    const struct mounts_extent groups = {ids->disk_gid, ids->host, ids->count};
    return open_namespace(ids->owner, &users, &groups, 1, err);
}

int mounts_open_users(uid_t owner, const struct mounts_extent *map, size_t count, struct err *err)
{
    return open_namespace(owner, map, map, count, err);
}

int mounts_bind_idmapped(const char *from, const char *to, int ids_fd, bool read_only,
                         struct err *err)
{
    AUTO_FD int tree =
        open_tree(AT_FDCWD, from, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
    if (tree < 0)
        return err_errno(err, "cannot open '%s'", from);
    struct mount_attr attributes = {
        .attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                    (read_only ? MOUNT_ATTR_RDONLY : 0),
        .userns_fd = (unsigned)ids_fd,
    };
    if (mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) < 0)
        return errno == EINVAL
                   ? err_set(err, -EINVAL, "the file system of '%s' has no idmapped mounts", from)
                   : err_errno(err, "cannot map the ids of '%s'", from);
    if (move_mount(tree, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return err_errno(err, "cannot mount '%s'", from);
    return 0;
}

int mounts_bind(const char *from, const char *to, bool read_only, struct err *err)
{
    AUTO_FD int tree =
        open_tree(AT_FDCWD, from, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
    if (tree < 0)
        return err_errno(err, "cannot open '%s'", from);
    struct mount_attr attributes = {
        .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (read_only ? MOUNT_ATTR_RDONLY : 0),
    };
    if (mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) < 0 ||
        move_mount(tree, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return err_errno(err, "cannot mount on '%s'", to);
    return 0;
}

/*
 * overlayfs makes its own work directory with the ids of who mounts it, and uses his rights ever
 * after. Those have to be ids that the idmapped upper layer can store: the sandbox's root. Without
 * SECBIT_NO_SETUID_FIXUP the kernel would take the file capabilities away together with fsuid 0.
 */
static int mount_as(uid_t owner, const char *target, const char *options, struct err *err)
{
    int bits = prctl(PR_GET_SECUREBITS);
    if (bits < 0 || prctl(PR_SET_SECUREBITS, (unsigned long)(bits | SECBIT_NO_SETUID_FIXUP)) < 0)
        return err_errno(err, "cannot set the secure bits");
    setfsgid(owner);
    setfsuid(owner);
    int status = 0;
    if (mount("overlay", target, "overlay", MS_NOSUID | MS_NODEV, options) < 0)
        status = err_errno(err, "cannot mount an overlay");
    setfsuid(geteuid());
    setfsgid(getegid());
    if (prctl(PR_SET_SECUREBITS, (unsigned long)bits) < 0 && status == 0)
        status = err_errno(err, "cannot set the secure bits back");
    return status;
}

int mounts_overlay(const struct mounts_overlay *overlay, struct err *err)
{
    char options[512];
    /* Redirects can only be noted in attributes that are root's alone. */
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s,%s%s", overlay->lower,
             overlay->upper, overlay->work, overlay->rootless ? "userxattr" : "redirect_dir=on",
             overlay->volatile_ ? ",volatile" : "");
    AUTO_FD int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (here < 0 || chdir(overlay->directory) < 0)
        return err_errno(err, "cannot enter '%s'", overlay->directory);
    int status = mount_as(overlay->owner, overlay->target, options, err);
    if (fchdir(here) < 0 && status == 0)
        status = err_errno(err, "cannot go back to the working directory");
    return status;
}

void mounts_detach(const char *path)
{
    umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
}

int mounts_check_directories(const char *root, const char *const *names, struct err *err)
{
    AUTO_FD int dir = open(root, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return err_errno(err, "cannot open the sandbox's root");
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV | RESOLVE_BENEATH};
    for (; *names; names++) {
        AUTO_FD int fd = (int)syscall(SYS_openat2, dir, *names, &how, sizeof how);
        if (fd < 0)
            return err_set(err, ERR_SANDBOX,
                           "/%s in the sandbox's files is not a plain directory: start refused",
                           *names);
    }
    return 0;
}
