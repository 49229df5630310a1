#include "agent/tools/patch_apply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/tools/patch_match.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"

enum {
    NEW_FILE_MODE = 0666,
    NEW_DIR_MODE = 0777,
    NOT_REGULAR = 3000, /* beside the errno codes: a FIFO, device or socket */
};

/* " (os error N)" as Rust prints it, so that the texts are those that models have seen. */
static int fail_errno(struct buf *text, const char *what, const char *path, int code)
{
    buf_clear(text);
    if (code == NOT_REGULAR)
        buf_appendf(text, "%s %s: not a regular file", what, path);
    else
        buf_appendf(text, "%s %s: %s (os error %d)", what, path, strerror(code), code);
    return -code;
}

static int fail(struct buf *text, const char *what, const char *path, const char *why)
{
    buf_clear(text);
    buf_appendf(text, "%s %s%s", what, path, why);
    return -EINVAL;
}

/* Append PATH's components to OUT, an absolute path without "." and "..". */
static int append_normal(struct buf *out, struct slice path)
{
    while (path.len) {
        const char *slash = memchr(path.at, '/', path.len);
        struct slice part = {path.at, slash ? (size_t)(slash - path.at) : path.len};
        size_t skip = slash ? part.len + 1 : part.len;
        path.at += skip;
        path.len -= skip;
        if (part.len == 0 || slice_is(part, "."))
            continue;
        if (slice_is(part, "..")) {
            const char *parent = memrchr(out->data, '/', out->len);
            out->len = parent ? (size_t)(parent - out->data) : 0;
            continue;
        }
        if (buf_append_char(out, '/') < 0 || buf_append(out, part.at, part.len) < 0)
            return -ENAMETOOLONG;
    }
    return 0;
}

/* The absolute path of PATH in OUT, ".." taken by name as openai/codex does. */
static int resolve(const char *base, struct slice path, struct buf *out, struct buf *text)
{
    int status = 0;
    buf_clear(out);
    if (path.at[0] != '/')
        status = append_normal(out, slice_of(base));
    if (status == 0)
        status = append_normal(out, path);
    if (status == 0 && out->len == 0)
        status = buf_append_char(out, '/');
    if (status < 0) {
        buf_clear(text);
        buf_append_str(text, "A path in the patch is too long");
    } else {
        out->data[out->len] = '\0'; /* ".." may have shortened it */
    }
    return status;
}

/* Open a regular file. O_NONBLOCK: a FIFO in the workspace must not hold us up. */
static int open_regular(const char *path, int flags, mode_t mode, struct stat *status)
{
    AUTO_FD int fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, mode);
    if (fd < 0)
        return -errno;
    if (fstat(fd, status) < 0)
        return -errno;
    if (S_ISDIR(status->st_mode))
        return -EISDIR;
    return S_ISREG(status->st_mode) ? steal_fd(&fd) : -NOT_REGULAR;
}

static int read_file(const char *path, struct buf *out, struct stat *status, struct buf *text)
{
    AUTO_FD int fd = open_regular(path, O_RDONLY, 0, status);
    if (fd < 0)
        return fail_errno(text, "Failed to read file to update", path, -fd);
    struct err err;
    int code = io_read_all(fd, out, &err);
    if (code == -ERANGE)
        return fail_errno(text, "Failed to read file to update", path, EFBIG);
    return code < 0 ? fail_errno(text, "Failed to read file to update", path, -code) : 0;
}

/* Open PATH for writing, with the directories that it needs. */
static int open_for_writing(const char *path, struct stat *status, struct buf *text)
{
    int fd = open_regular(path, O_WRONLY | O_CREAT, NEW_FILE_MODE, status);
    if (fd == -ENOENT) {
        struct buf parent;
        buf_init(&parent, PATH_MAX);
        const char *slash = strrchr(path, '/');
        buf_append(&parent, path, (size_t)(slash - path));
        struct err err;
        int code = io_make_dirs(parent.data, NEW_DIR_MODE, &err);
        buf_release(&parent);
        if (code < 0)
            return fail_errno(text, "Failed to create parent directories for", path, -code);
        fd = open_regular(path, O_WRONLY | O_CREAT, NEW_FILE_MODE, status);
    }
    return fd < 0 ? fail_errno(text, "Failed to write file", path, -fd) : fd;
}

/* Replace what FD's file holds. The space is had before the first byte is lost: a full disk must
 * not cost the file. */
static int replace_content(int fd, struct slice content)
{
    if (content.len && fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)content.len) < 0 &&
        (errno == ENOSPC || errno == EDQUOT))
        return -errno;
    struct err err;
    int code = io_write_all(fd, content.at, content.len, &err);
    if (code == 0 && ftruncate(fd, (off_t)content.len) < 0)
        code = -errno;
    return code;
}

static int write_file(const char *path, struct slice content, struct buf *text)
{
    struct stat status;
    AUTO_FD int fd = open_for_writing(path, &status, text);
    if (fd < 0)
        return fd;
    int code = replace_content(fd, content);
    return code < 0 ? fail_errno(text, "Failed to write file", path, -code) : 0;
}

/* Write a moved file's new place, with the permissions of its old one (SOURCE). */
static int write_moved(const char *path, const struct stat *source, struct slice content,
                       struct buf *text)
{
    struct stat status;
    AUTO_FD int fd = open_for_writing(path, &status, text);
    if (fd < 0)
        return fd;
    if (status.st_dev == source->st_dev && status.st_ino == source->st_ino)
        return fail(text, "Failed to write file", path, ": it is the file that is to be moved");
    int code = replace_content(fd, content);
    if (code == 0 && fchmod(fd, source->st_mode & 0777) < 0)
        code = -errno;
    return code < 0 ? fail_errno(text, "Failed to write file", path, -code) : 0;
}

static int add_file(const struct patch *patch, const struct patch_op *op, const char *path,
                    struct buf *text)
{
    AUTO_BUF struct buf content;
    buf_init(&content, PATCH_MAX_BYTES);
    for (size_t i = 0; i < op->line_count; i++) {
        struct slice line = patch->lines[op->first_line + i].text;
        if (buf_append(&content, line.at, line.len) < 0 || buf_append_char(&content, '\n') < 0)
            return fail_errno(text, "Failed to write file", path, EFBIG);
    }
    return write_file(path, (struct slice){content.data, content.len}, text);
}

static int move_file(const char *from, const struct stat *source, const char *to,
                     struct slice content, struct buf *text)
{
    int status = write_moved(to, source, content, text);
    if (status == 0 && unlink(from) < 0)
        status = fail(text, "Failed to remove original", from, "");
    return status;
}

static int update_file(const struct patch *patch, const struct patch_op *op, const char *base,
                       const char *path, struct buf *text)
{
    AUTO_BUF struct buf before, after, destination;
    buf_init(&before, PATCH_FILE_MAX_BYTES);
    buf_init(&after, PATCH_FILE_MAX_BYTES);
    buf_init(&destination, PATH_MAX);
    struct stat source;
    int status = read_file(path, &before, &source, text);
    if (status == 0)
        status =
            patch_update(patch, op, (struct slice){before.data, before.len}, path, &after, text);
    if (status == 0 && op->move_to.at)
        status = resolve(base, op->move_to, &destination, text);
    if (status < 0)
        return status;
    struct slice content = {after.data, after.len};
    if (destination.len && strcmp(destination.data, path) != 0)
        return move_file(path, &source, destination.data, content, text);
    return write_file(path, content, text);
}

static int apply_op(const struct patch *patch, const struct patch_op *op, const char *base,
                    struct buf *text)
{
    AUTO_BUF struct buf path;
    buf_init(&path, PATH_MAX);
    int status = resolve(base, op->path, &path, text);
    if (status < 0)
        return status;
    if (op->kind == PATCH_ADD)
        return add_file(patch, op, path.data, text);
    if (op->kind == PATCH_UPDATE)
        return update_file(patch, op, base, path.data, text);
    return unlink(path.data) < 0 ? fail(text, "Failed to delete file", path.data, "") : 0;
}

char patch_op_letter(const struct patch_op *op)
{
    return "ADM"[op->kind];
}

struct slice patch_op_path(const struct patch_op *op)
{
    return op->move_to.at ? op->move_to : op->path;
}

static void summarise(const struct patch *patch, struct buf *text)
{
    static const enum patch_kind order[] = {PATCH_ADD, PATCH_UPDATE, PATCH_DELETE};
    buf_clear(text);
    buf_append_str(text, "Success. Updated the following files:\n");
    for (size_t kind = 0; kind < sizeof order / sizeof order[0]; kind++)
        for (size_t i = 0; i < patch->op_count; i++) {
            const struct patch_op *op = &patch->ops[i];
            if (op->kind != order[kind])
                continue;
            buf_appendf(text, "%c ", patch_op_letter(op));
            buf_append(text, patch_op_path(op).at, patch_op_path(op).len);
            buf_append_char(text, '\n');
        }
}

int patch_apply(const struct patch *patch, const char *base, struct patch_progress *progress)
{
    progress->done = 0;
    buf_clear(&progress->text);
    int status = 0;
    if (patch->op_count == 0) {
        buf_append_str(&progress->text, "No files were modified.");
        status = ERR_USAGE;
    }
    while (status >= 0 && progress->done < patch->op_count) {
        status = apply_op(patch, &patch->ops[progress->done], base, &progress->text);
        progress->done += status >= 0;
    }
    if (status >= 0)
        summarise(patch, &progress->text);
    else
        buf_append_char(&progress->text, '\n');
    return status < 0 ? status : 0;
}
