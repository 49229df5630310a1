#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

int io_write_all(int fd, const void *bytes, size_t len, struct err *err)
{
    const char *p = bytes;
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, "cannot write");
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int io_read_all(int fd, struct buf *out, struct err *err)
{
    for (;;) {
        size_t room = out->max - out->len;
        size_t want = room < 65536 ? room : 65536;
        char extra;
        char *into = want ? buf_reserve(out, want) : &extra;
        ssize_t n = read(fd, into, want ? want : 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, "cannot read");
        if (n == 0)
            return 0;
        if (!want)
            return err_set(err, -ERANGE, "larger than %zu bytes", out->max);
        buf_wrote(out, (size_t)n);
    }
}

int io_read_file_at(int dirfd, const char *path, struct buf *out, struct err *err)
{
    AUTO_FD int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return err_errno(err, "cannot open '%s'", path);
    if (io_read_all(fd, out, err) < 0)
        return err_context(err, "'%s'", path);
    return 0;
}

int io_read_file(const char *path, struct buf *out, struct err *err)
{
    return io_read_file_at(AT_FDCWD, path, out, err);
}

/* The directory that holds PATH, opened, so that its entries can be made durable. */
static int open_parent(int dirfd, const char *path)
{
    char parent[4096];
    const char *slash = strrchr(path, '/');
    if (!slash)
        return openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    size_t len = slash == path ? 1 : (size_t)(slash - path);
    if (len >= sizeof parent) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(parent, path, len);
    parent[len] = '\0';
    return openat(dirfd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int io_replace_file_at(int dirfd, const char *path, const void *bytes, size_t len, mode_t mode,
                       struct err *err)
{
    char temporary[4096];
    if (snprintf(temporary, sizeof temporary, "%s.tmp-%d", path, (int)gettid()) >=
        (int)sizeof temporary)
        return err_set(err, -ENAMETOOLONG, "path too long");

    AUTO_FD int parent = open_parent(dirfd, path);
    if (parent < 0)
        return err_errno(err, "cannot open the directory of '%s'", path);
    AUTO_FD int fd =
        openat(dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return err_errno(err, "cannot create '%s'", temporary);
    int status = io_write_all(fd, bytes, len, err);
    if (status == 0 && fsync(fd) < 0)
        status = err_errno(err, "cannot sync '%s'", temporary);
    if (status == 0 && renameat(dirfd, temporary, dirfd, path) < 0)
        status = err_errno(err, "cannot rename to '%s'", path);
    if (status < 0) {
        unlinkat(dirfd, temporary, 0);
        return status;
    }
    return fsync(parent) < 0 ? err_errno(err, "cannot sync the directory of '%s'", path) : 0;
}

int io_make_dirs(const char *path, mode_t mode, struct err *err)
{
    char partial[4096];
    size_t len = strlen(path);
    if (len >= sizeof partial)
        return err_set(err, -ENAMETOOLONG, "path too long");
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(partial, path, i);
        partial[i] = '\0';
        if (mkdir(partial, mode) < 0 && errno != EEXIST)
            return err_errno(err, "cannot create directory '%s'", partial);
    }
    return 0;
}

/* Under another name first: nobody finds it half made, and whoever is its owner has no hand in it
 * before it is done. */
int io_make_owned_dir(const char *path, uid_t uid, gid_t gid, mode_t mode, struct err *err)
{
    char id[13];
    str_random_id(id, sizeof id - 1);
    if (access(path, F_OK) == 0)
        return 0;
    AUTO_FREE char *new = str_format("%s.new-%s", path, id);
    int status = 0;
    if (mkdir(new, 0700) < 0)
        return err_errno(err, "cannot create directory '%s'", path);
    if (chown(new, uid, gid) < 0 || chmod(new, mode) < 0)
        status = err_errno(err, "cannot set owner and mode of '%s'", path);
    else if (syscall(SYS_renameat2, AT_FDCWD, new, AT_FDCWD, path, 1 /* RENAME_NOREPLACE */) == 0)
        return 0;
    else if (errno != EEXIST)
        status = err_errno(err, "cannot create directory '%s'", path);
    rmdir(new);
    return status;
}

DIR *io_list_dir(int dir)
{
    AUTO_FD int listed = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = listed < 0 ? NULL : fdopendir(listed);
    if (stream)
        listed = -1; /* the stream's now */
    return stream;
}

int io_open_private_dir(const char *path, struct err *err)
{
    int status = io_make_dirs(path, 0700, err);
    if (status < 0)
        return status;
    AUTO_FD int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(err, "cannot open '%s'", path);
    if (st.st_uid != geteuid() || (st.st_mode & 077))
        return err_set(err, ERR_REFUSED, "'%s' must belong to %s with mode 0700", path,
                       geteuid() == 0 ? "root" : "you");
    return steal_fd(&fd);
}

/*
 * Directories deeper than the one being emptied are first moved up beside it, so that no depth
 * needs more than one open directory and no path grows past PATH_MAX.
 */
static int empty_directory(int top, int dir, unsigned *moved, struct err *err)
{
    AUTO_DIR DIR *stream = fdopendir(dup(dir));
    if (!stream)
        return err_errno(err, "cannot list a directory");
    struct dirent *entry;
    while ((entry = readdir(stream))) {
        const char *name = entry->d_name;
        if (!strcmp(name, ".") || !strcmp(name, ".."))
            continue;
        if (unlinkat(dir, name, 0) == 0)
            continue;
        if (errno != EISDIR && errno != EPERM)
            return err_errno(err, "cannot remove '%s'", name);
        if (unlinkat(dir, name, AT_REMOVEDIR) == 0)
            continue;
        if (errno != ENOTEMPTY && errno != EEXIST)
            return err_errno(err, "cannot remove directory '%s'", name);
        if (dir == top)
            continue;
        char aside[32];
        do
            snprintf(aside, sizeof aside, ".rm-%u", (*moved)++);
        while (syscall(SYS_renameat2, dir, name, top, aside, 1 /* RENAME_NOREPLACE */) < 0 &&
               errno == EEXIST);
    }
    return 0;
}

/* One pass over TOP: empty and remove every directory directly in it. Returns how many went. */
static int empty_children(int top, unsigned *moved, struct err *err)
{
    int removed = 0;
    AUTO_DIR DIR *stream = fdopendir(dup(top));
    if (!stream)
        return err_errno(err, "cannot list a directory");
    rewinddir(stream); /* the copy shares its position with TOP */
    struct dirent *entry;
    while ((entry = readdir(stream))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        AUTO_FD int child =
            openat(top, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (child < 0)
            return err_errno(err, "cannot open '%s'", entry->d_name);
        int status = empty_directory(top, child, moved, err);
        if (status < 0)
            return status;
        if (unlinkat(top, entry->d_name, AT_REMOVEDIR) == 0)
            removed++;
    }
    return removed;
}

/* Passes until TOP is empty, each of which removes or moves something. */
static int empty_tree(int top, struct err *err)
{
    unsigned moved = 0;
    int status = empty_directory(top, top, &moved, err);
    if (status < 0)
        return status;
    unsigned before;
    int removed;
    do {
        before = moved;
        removed = empty_children(top, &moved, err);
    } while (removed > 0 || (removed == 0 && moved != before));
    return removed;
}

int io_remove_tree_at(int dirfd, const char *path, struct err *err)
{
    if (unlinkat(dirfd, path, 0) == 0 || errno == ENOENT)
        return 0;
    AUTO_FD int top = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (top < 0)
        return err_errno(err, "cannot remove '%s'", path);
    int status = empty_tree(top, err);
    if (status < 0)
        return err_context(err, "cannot remove '%s'", path);
    if (unlinkat(dirfd, path, AT_REMOVEDIR) < 0)
        return err_errno(err, "cannot remove directory '%s'", path);
    return 0;
}

int io_copy(int from, off_t offset, off_t end, int to, struct err *err)
{
    static const off_t chunk = 1 << 20;
    while (end < 0 || offset < end) {
        off_t want = end < 0 || end - offset > chunk ? chunk : end - offset;
        ssize_t n = sendfile(to, from, &offset, (size_t)want);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return err_errno(err, "cannot copy");
    }
    return 0;
}

int io_sync(int fd, struct err *err)
{
    if (fdatasync(fd) == 0 || errno == EINVAL || errno == EROFS)
        return 0;
    return err_errno(err, "cannot sync");
}

int io_set_nonblocking(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    int wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return fcntl(fd, F_SETFL, wanted) < 0 ? -errno : 0;
}

int io_memfd(const char *name, const void *bytes, size_t len, struct err *err)
{
    AUTO_FD int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return err_errno(err, "cannot create memory file '%s'", name);
    int status = io_write_all(fd, bytes, len, err);
    if (status < 0)
        return status;
    if (lseek(fd, 0, SEEK_SET) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
        return err_errno(err, "cannot seal memory file '%s'", name);
    return steal_fd(&fd);
}

int io_send_fds(int sock, const void *bytes, size_t len, const int *fds, size_t count,
                struct err *err)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * IO_MAX_FDS)];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = (void *)bytes, .iov_len = len};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (count > IO_MAX_FDS)
        return err_set(err, -E2BIG, "too many descriptors for one message");
    if (count) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
    }
    ssize_t n;
    do
        n = sendmsg(sock, &message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(err, "cannot send a message");
    return (size_t)n == len ? 0 : err_set(err, ERR_PROTOCOL, "message sent in part");
}

/* Take the descriptors out of MESSAGE; what does not fit FDS is closed. */
static size_t take_fds(struct msghdr *message, int *fds)
{
    size_t count = 0;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(message); h; h = CMSG_NXTHDR(message, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof fd);
            if (count < IO_MAX_FDS)
                fds[count++] = fd;
            else
                close(fd);
        }
    }
    return count;
}

ssize_t io_recv_fds(int sock, void *bytes, size_t size, int *fds, size_t *count, struct err *err)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * IO_MAX_FDS)];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = bytes, .iov_len = size};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    *count = 0;
    ssize_t n;
    do
        n = recvmsg(sock, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(err, "cannot receive a message");
    *count = take_fds(&message, fds);
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        while (*count)
            close(fds[--*count]);
        return err_set(err, ERR_PROTOCOL, "message too large");
    }
    return n;
}
