#include "sandbox/loop_device.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

/* How often somebody else may take a free device before us. */
enum { TRIES = 64, BLOCK = 4096 };

/* A free device, made when there is none. */
static int open_free(char device[LOOP_DEVICE_PATH_SIZE], struct err *err)
{
    AUTO_FD int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0)
        return err_errno(err, "cannot open '/dev/loop-control'");
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0)
        return err_errno(err, "there is no free loop device");
    snprintf(device, LOOP_DEVICE_PATH_SIZE, "/dev/loop%d", number);
    int fd = open(device, O_RDWR | O_CLOEXEC);
    return fd < 0 ? err_errno(err, "cannot open '%s'", device) : fd;
}

bool loop_device_is_possible(struct err *err)
{
    char device[LOOP_DEVICE_PATH_SIZE];
    AUTO_FD int fd = open_free(device, err);
    return fd >= 0;
}

/* What is written goes past the cache of the file: the file system on it has one. What is only read stays in
 * that: each program mounts a layer for itself, and shares nothing else of it with the others. */
static const unsigned flags_to_write = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
static const unsigned flags_to_read = LO_FLAGS_AUTOCLEAR | LO_FLAGS_READ_ONLY;

/* 0, -EBUSY when it is not free any more, or another error. */
static int configure(int device, int file, bool read_only)
{
    struct loop_config config = {
        .fd = (unsigned)file,
        .block_size = BLOCK,
        .info.lo_flags = read_only ? flags_to_read : flags_to_write,
    };
    if (ioctl(device, LOOP_CONFIGURE, &config) == 0)
        return 0;
    if (errno != EINVAL)
        return -errno;
    /* Not every file system can be written to past the page cache. */
    config.info.lo_flags &= ~(unsigned)LO_FLAGS_DIRECT_IO;
    return ioctl(device, LOOP_CONFIGURE, &config) < 0 ? -errno : 0;
}

int loop_device_attach(const char *path, bool read_only, char device[LOOP_DEVICE_PATH_SIZE],
                       struct err *err)
{
    AUTO_FD int file = open(path, (read_only ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_CLOEXEC);
    if (file < 0)
        return err_errno(err, "cannot open '%s'", path);
    int status = -EBUSY;
    for (unsigned i = 0; i < TRIES && status == -EBUSY; i++) {
        AUTO_FD int fd = open_free(device, err);
        if (fd < 0)
            return fd;
        status = configure(fd, file, read_only);
        if (status == 0)
            return steal_fd(&fd);
    }
    errno = -status;
    return err_errno(err, "cannot attach '%s' to a loop device", path);
}

/* Whether the loop device NAME of sysfs is attached to FILE for writing. */
static bool is_attached(const char *name, const struct stat *file)
{
    char path[64];
    struct loop_info64 info;
    snprintf(path, sizeof path, "/sys/block/%.32s/loop", name);
    if (access(path, F_OK) < 0) /* attached to nothing */
        return false;
    snprintf(path, sizeof path, "/dev/%.32s", name);
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && ioctl(fd, LOOP_GET_STATUS64, &info) == 0 &&
           !(info.lo_flags & LO_FLAGS_READ_ONLY) && info.lo_device == file->st_dev &&
           info.lo_inode == file->st_ino;
}

int loop_device_uses(const char *path, struct err *err)
{
    struct stat file;
    if (stat(path, &file) < 0)
        return err_errno(err, "cannot read '%s'", path);
    AUTO_DIR DIR *stream = opendir("/sys/block");
    if (!stream)
        return err_errno(err, "cannot list '/sys/block'");
    struct dirent *entry;
    while ((entry = readdir(stream)))
        if (str_starts_with(entry->d_name, "loop") && is_attached(entry->d_name, &file))
            return 1;
    return 0;
}
