#include "sandbox/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/process.h"
#include "sandbox/loop_device.h"

/* What a commit of usual size needs. */
enum { RESERVE_BYTES = 32 << 20, BLOCK = 4096, INODE_BYTES = 256, WAIT_MS = 1 };

/* What ext4 keeps for itself at most, of 2 % (ext4_calculate_resv_clusters in fs/ext4/super.c). */
enum { HIDDEN_MAX = 4096 * BLOCK };

static const char reserve_name[] = "reserve";

uint64_t disk_inodes(const struct disk_size *size)
{
    uint64_t inodes = size->inodes ? size->inodes : size->bytes / DISK_BYTES_PER_INODE;
    return inodes < DISK_INODES_MIN   ? DISK_INODES_MIN
           : inodes > DISK_INODES_MAX ? DISK_INODES_MAX
                                      : inodes;
}

bool disk_is_possible(struct err *err)
{
    return loop_device_is_possible(err);
}

/* Run a program of e2fsprogs. Returns its exit status; what it said is in ERR when it is negative. */
static int run_tool(const char *const *argv, struct buf *said, struct err *err)
{
    int status = process_run(argv, -1, said, err);
    said->data[strcspn(said->data, "\n")] = '\0';
    return status < 0 ? err_context(err, "e2fsprogs is needed for a limit of the disk") : status;
}

/* The size of the file: what was promised, beside what the file system needs for itself. */
static uint64_t file_bytes(const struct disk_size *size, bool reserve)
{
    uint64_t hidden = size->bytes / 50 < HIDDEN_MAX ? size->bytes / 50 : HIDDEN_MAX;
    uint64_t own = disk_inodes(size) * INODE_BYTES + size->bytes / 1024 + hidden;
    return (size->bytes + own + (reserve ? RESERVE_BYTES : 0)) / BLOCK * BLOCK;
}

int disk_make(const char *path, const struct disk_size *size, bool reserve, struct err *err)
{
    AUTO_FD int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, "cannot create '%s'", path);
    if (ftruncate(fd, (off_t)file_bytes(size, reserve)) < 0)
        return err_errno(err, "cannot make a disk of %" PRIu64 " MiB", size->bytes >> 20);
    char inodes[32];
    snprintf(inodes, sizeof inodes, "%" PRIu64, disk_inodes(size));
    /* The file is all zeros already: no table needs writing, now or behind the mount. */
    const char *const argv[] = {"/sbin/mke2fs",
                                "-q",
                                "-F",
                                "-t",
                                "ext4",
                                "-b",
                                "4096",
                                "-m",
                                "0",
                                "-O",
                                "^has_journal,^resize_inode",
                                "-E",
                                "lazy_itable_init=1,nodiscard,root_owner=0:0",
                                "-N",
                                inodes,
                                path,
                                NULL};
    AUTO_BUF struct buf said;
    buf_init(&said, 4096);
    int status = run_tool(argv, &said, err);
    if (status > 0)
        status = err_set(err, ERR_SANDBOX, "mke2fs: %.200s", said.data);
    if (status < 0)
        unlink(path);
    return status;
}

int disk_check(const char *path, struct err *err)
{
    /* -p mends what is safe; what is left has no owner, as a rule: it goes to lost+found. */
    const char *const careful[] = {"/sbin/e2fsck", "-p", path, NULL};
    const char *const determined[] = {"/sbin/e2fsck", "-f", "-y", path, NULL};
    enum { MENDED = 3, NOT_MENDED = 4 }; /* e2fsck(8): 1 and 2 are bits of a success */
    AUTO_BUF struct buf said;
    buf_init(&said, 65536);
    int status = run_tool(careful, &said, err);
    if (status == NOT_MENDED) {
        buf_clear(&said);
        status = run_tool(determined, &said, err);
    }
    if (status < 0)
        return status;
    return status <= MENDED
               ? 0
               : err_set(err, ERR_SANDBOX, "the disk '%s' is damaged: %.200s", path, said.data);
}

int disk_wait_unused(const char *path, int64_t deadline_ms, struct err *err)
{
    for (;;) {
        int used = loop_device_uses(path, err);
        if (used <= 0)
            return used;
        if (clock_mono_ms() > deadline_ms)
            return err_set(err, -EBUSY, "the disk '%s' is in use", path);
        nanosleep(&(struct timespec){.tv_nsec = WAIT_MS * 1000000}, NULL);
    }
}

int disk_mount(const char *path, const char *at, bool read_only, struct err *err)
{
    char device[LOOP_DEVICE_PATH_SIZE];
    AUTO_FD int loop = loop_device_attach(path, read_only, device, err);
    if (loop < 0)
        return loop;
    /* An error of the disk below shall not be written over; tables of inodes need no zeros. */
    const char *options = read_only ? "noload" : "discard,noinit_itable,errors=remount-ro";
    unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOATIME | (read_only ? MS_RDONLY : 0);
    if (mount(device, at, "ext4", flags, options) < 0)
        return err_errno(err, "cannot mount the disk '%s'", path);
    return 0;
}

int disk_read_left(int fd, struct disk_left *out, struct err *err)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return err_errno(err, "cannot read how full a disk is");
    *out = (struct disk_left){.bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize,
                              .inodes = (uint64_t)fs.f_ffree};
    return 0;
}

int disk_keep_reserve(int fd, struct err *err)
{
    AUTO_FD int file = openat(fd, reserve_name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    /* Promised by the file system, and written nowhere. */
    if (file < 0 || fallocate(file, 0, 0, RESERVE_BYTES) < 0)
        return err_errno(err, "cannot keep a reserve on a disk");
    return 0;
}

void disk_give_reserve(int fd)
{
    unlinkat(fd, reserve_name, 0);
}
