/* Files and descriptors: whole reads and writes, replacing a file safely, passing descriptors. */
#ifndef CODEX_BASE_IO_H
#define CODEX_BASE_IO_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* Write all LEN bytes, going on after EINTR and short writes. */
int io_write_all(int fd, const void *bytes, size_t len, struct err *err);

/* Read until the end of file; -ERANGE ("too large") when that would pass OUT's maximum. */
int io_read_all(int fd, struct buf *out, struct err *err);

/* The whole file PATH, relative to DIRFD (AT_FDCWD allowed), into OUT. Symbolic links are
 * followed. */
int io_read_file_at(int dirfd, const char *path, struct buf *out, struct err *err);
int io_read_file(const char *path, struct buf *out, struct err *err);

/* Put BYTES at PATH so that after a crash there is either the old file or the whole new one:
 * temporary file, fsync, rename, fsync of the directory. */
int io_replace_file_at(int dirfd, const char *path, const void *bytes, size_t len, mode_t mode,
                       struct err *err);

/* mkdir -p. Existing directories are left as they are. */
int io_make_dirs(const char *path, mode_t mode, struct err *err);

/* A directory that belongs to UID and GID from the moment it is there; nothing happens when PATH
 * exists. Its parent must be the caller's alone. */
int io_make_owned_dir(const char *path, uid_t uid, gid_t gid, mode_t mode, struct err *err);

/* Open the directory PATH, made with mode 0700 when it is not there. ERR_REFUSED when it is not
 * ours alone: what lies in it may be somebody's real files, setuid ones among them. */
int io_open_private_dir(const char *path, struct err *err);

/* The entries of the directory DIR, which is not moved on by it; for closedir(). NULL: see errno. */
DIR *io_list_dir(int dir);

/* Remove PATH (below DIRFD) and everything in it, never following a symbolic link and never
 * recursing, so that neither a hostile link nor a hostile depth can do harm. A missing PATH is
 * fine. */
int io_remove_tree_at(int dirfd, const char *path, struct err *err);

/* Write to TO, a file or a pipe, what the file FROM holds from OFFSET to END (-1: its end; less when it
 * ends before). FROM's own offset stays. */
int io_copy(int from, off_t offset, off_t end, int to, struct err *err);

/* Wait until what was written to FD is on its disk; for a pipe there is nothing to wait for. */
int io_sync(int fd, struct err *err);

int io_set_nonblocking(int fd, bool on);

/* A sealed, read-only memory file holding BYTES; returns its descriptor, positioned at 0. */
int io_memfd(const char *name, const void *bytes, size_t len, struct err *err);

enum { IO_MAX_FDS = 16 };

/* One SEQPACKET/DGRAM message of LEN bytes with COUNT descriptors (at most IO_MAX_FDS). */
int io_send_fds(int sock, const void *bytes, size_t len, const int *fds, size_t count,
                struct err *err);

/* Receive one. Returns its length, 0 at the end, negative on error (-EAGAIN included, quiet in
 * ERR). Received descriptors are CLOEXEC; *COUNT says how many were put into FDS (room for
 * IO_MAX_FDS); the caller closes them. A truncated message is ERR_PROTOCOL. */
ssize_t io_recv_fds(int sock, void *bytes, size_t size, int *fds, size_t *count, struct err *err);

#endif
