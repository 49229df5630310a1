#include "sandbox/uid_range.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

/* An open-file-description lock: it belongs to this descriptor, not to the process, so two
 * sandboxes of one process exclude each other too, and closing another descriptor of the file drops
 * nothing. */
static int lock_byte(int fd, off_t at)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &lock);
}

int uid_range_take(struct uid_range *range, const char *directory, struct err *err)
{
    *range = (struct uid_range){.fd = -1};
    int status = io_make_dirs(directory, 0755, err);
    if (status < 0)
        return status;
    AUTO_FD int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO_FD int fd =
        dir < 0 ? -1 : openat(dir, "uid-ranges", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, "cannot open '%s/uid-ranges'", directory);
    /* Starting anywhere keeps the number of tries small, and makes it unlikely that a range is used
     * again right after its last owner. */
    uint32_t start;
    if (getrandom(&start, sizeof start, 0) != (ssize_t)sizeof start)
        return err_errno(err, "cannot get random bytes");
    for (uint32_t i = 0; i < UID_RANGE_COUNT; i++) {
        uint32_t slot = (start % UID_RANGE_COUNT + i) % UID_RANGE_COUNT;
        if (lock_byte(fd, slot) == 0) {
            range->fd = steal_fd(&fd);
            range->base = UID_RANGE_FIRST + slot * UID_RANGE_SIZE;
            return 0;
        }
        if (errno != EAGAIN && errno != EACCES)
            return err_errno(err, "cannot lock a uid range");
    }
    return err_set(err, ERR_LIMIT, "all %d uid ranges are in use", UID_RANGE_COUNT);
}

void uid_range_release(struct uid_range *range)
{
    if (range->fd >= 0)
        close(range->fd);
    range->fd = -1;
}
