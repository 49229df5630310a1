/* What one can do to files of one's own that would matter outside of the sandbox, or to its layers. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "attempt.h"

static int own_file(void)
{
    unlink("own");
    return open("own", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
}

static long set_flag(int flag)
{
    int fd = own_file(), before, with;
    if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &before) < 0)
        return -1;
    with = before | flag;
    if (ioctl(fd, FS_IOC_SETFLAGS, &with) < 0)
        return -1;
    return ioctl(fd, FS_IOC_SETFLAGS, &before);
}
/* Nobody could remove it with the sandbox. */
static long try_immutable(void)
{
    return set_flag(FS_IMMUTABLE_FL);
}
static long try_append_only(void)
{
    return set_flag(FS_APPEND_FL);
}

static long set_attribute(const char *name, const void *value, size_t size)
{
    int fd = own_file();
    return fd < 0 ? -1 : fsetxattr(fd, name, value, size, 0);
}
static long try_trusted_attribute(void)
{
    return set_attribute("trusted.x", "1", 1);
}
static long try_opaque(void)
{
    rmdir("directory");
    if (mkdir("directory", 0755) < 0)
        return -1;
    return setxattr("directory", "trusted.overlay.opaque", "y", 1, 0);
}
static long try_redirect(void)
{
    return set_attribute("trusted.overlay.redirect", "/etc/shadow", 11);
}
static long try_metacopy(void)
{
    return set_attribute("trusted.overlay.metacopy", "", 0);
}
/* Only its own kind of root honours it there, but what owns the file decides outside. */
static long try_file_capability(void)
{
    struct vfs_cap_data data = {.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE,
                                .data[0].permitted = 1 << CAP_SYS_ADMIN % 32};
    return set_attribute("security.capability", &data, sizeof data);
}
static long try_security_attribute(void)
{
    return set_attribute("security.x", "x", 2);
}
static long try_whiteout(void)
{
    unlink("whiteout");
    long status = mknod("whiteout", S_IFCHR, makedev(0, 0));
    int problem = errno;
    unlink("whiteout");
    errno = problem;
    return status;
}
static long try_rename_whiteout(void)
{
    own_file();
    long status = renameat2(AT_FDCWD, "own", AT_FDCWD, "renamed", RENAME_WHITEOUT);
    int problem = errno;
    unlink("own");
    errno = problem;
    return status;
}
static long try_give_away(void)
{
    return fchown(own_file(), 4242, 4242);
}
static long try_become_root(void)
{
    return setresuid(0, 0, 0);
}
static long try_lease_of_the_image(void)
{
    int fd = open("/usr/share/common-licenses/GPL-3", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -1 : fcntl(fd, F_SETLEASE, F_RDLCK);
}

static const struct attempt attempts[] = {
    ATTEMPT(0, immutable),          ATTEMPT(0, append_only),
    ATTEMPT(34, trusted_attribute), ATTEMPT(34, opaque),
    ATTEMPT(34, redirect),          ATTEMPT(34, metacopy),
    ATTEMPT(34, file_capability),   ATTEMPT(0, security_attribute),
    ATTEMPT(57, whiteout),          ATTEMPT(57, rename_whiteout),
    ATTEMPT(0, give_away),          ATTEMPT(0, become_root),
    ATTEMPT(0, lease_of_the_image),
};

int main(void)
{
    return attempt_all(attempts, sizeof attempts / sizeof attempts[0]);
}
