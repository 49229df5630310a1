#include "sandbox/image_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

void image_tree_count(struct image_tree *tree)
{
    tree->entries++;
    if (!tree->progress)
        return;
    uint64_t percent = tree->expected ? tree->entries * 100 / tree->expected : 0;
    if (percent > 99)
        percent = 99;
    if (percent == tree->percent)
        return;
    tree->percent = (unsigned)percent;
    tree->progress(tree->arg, tree->percent, tree->entries);
}

bool image_tree_is_public(const struct stat *st)
{
    if (S_ISLNK(st->st_mode))
        return true;
    if (S_ISDIR(st->st_mode))
        return (st->st_mode & 05) == 05;
    return S_ISREG(st->st_mode) && (st->st_mode & 04) && !(st->st_mode & (S_ISUID | S_ISGID));
}

static int open_below(int root, const char *path)
{
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
    return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

int image_tree_open_parent(struct image_tree *tree, const char *path, const char **name,
                           struct err *err)
{
    const char *slash = strrchr(path, '/');
    *name = slash + 1;
    char parent[PATH_MAX];
    size_t len = slash == path ? 1 : (size_t)(slash - path);
    if (len >= sizeof parent)
        return err_set(err, -ENAMETOOLONG, "path too long");
    memcpy(parent, path, len);
    parent[len] = '\0';
    int fd = open_below(tree->root, parent);
    if (fd < 0 && errno == ENOENT && len > 1) {
        int status = image_tree_make_dir(tree, parent, 0755, 0, 0, err);
        if (status < 0)
            return status;
        fd = open_below(tree->root, parent);
    }
    return fd < 0 ? err_errno(err, "cannot open '%s' in the image", parent) : fd;
}

int image_tree_make_dir(struct image_tree *tree, const char *path, mode_t mode, uid_t uid,
                        gid_t gid, struct err *err)
{
    const char *name;
    AUTO_FD int parent = image_tree_open_parent(tree, path, &name, err);
    if (parent < 0)
        return parent;
    if (mkdirat(parent, name, 0700) < 0)
        return errno == EEXIST ? 0 : err_errno(err, "cannot create '%s' in the image", path);
    /* chown first: it clears the setgid bit. */
    if (fchownat(parent, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchmodat(parent, name, mode, 0) < 0)
        return err_errno(err, "cannot set the mode of '%s' in the image", path);
    image_tree_count(tree);
    return 0;
}

int image_tree_make_link(struct image_tree *tree, const char *path, const char *target,
                         struct err *err)
{
    const char *name;
    AUTO_FD int parent = image_tree_open_parent(tree, path, &name, err);
    if (parent < 0)
        return parent;
    if (symlinkat(target, parent, name) < 0 && errno != EEXIST)
        return err_errno(err, "cannot create '%s' in the image", path);
    image_tree_count(tree);
    return 0;
}

int image_tree_write(struct image_tree *tree, const char *path, mode_t mode, uid_t uid, gid_t gid,
                     const char *text, struct err *err)
{
    const char *name;
    AUTO_FD int parent = image_tree_open_parent(tree, path, &name, err);
    if (parent < 0)
        return parent;
    unlinkat(parent, name, 0); /* what came from the host gives way */
    AUTO_FD int fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0)
        return err_errno(err, "cannot create '%s' in the image", path);
    image_tree_count(tree);
    int status = io_write_all(fd, text, strlen(text), err);
    return status < 0 ? err_context(err, "'%s' in the image", path) : 0;
}

/* The bytes of IN (SIZE of them) as the new file NAME in TO_DIR. */
static int copy_bytes(int in, int to_dir, const char *name, const struct stat *st, struct err *err)
{
    AUTO_FD int out =
        openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0)
        return errno == EEXIST ? 0 : err_errno(err, "cannot create '%s' in the image", name);
    for (off_t left = st->st_size; left > 0;) {
        ssize_t n = sendfile(out, in, NULL, (size_t)left);
        if (n < 0)
            return err_errno(err, "cannot copy '%s' into the image", name);
        if (n == 0)
            break;
        left -= n;
    }
    struct timespec times[2] = {st->st_atim, st->st_mtim};
    if (fchown(out, st->st_uid, st->st_gid) < 0 || fchmod(out, st->st_mode & 07777) < 0 ||
        futimens(out, times) < 0)
        return err_errno(err, "cannot copy '%s' into the image", name);
    return 0;
}

static int copy_entry(int from_dir, int to_dir, const char *name, const struct stat *st,
                      struct err *err)
{
    if (S_ISLNK(st->st_mode)) {
        char target[PATH_MAX];
        ssize_t n = readlinkat(from_dir, name, target, sizeof target - 1);
        if (n < 0)
            return err_errno(err, "cannot read the link '%s'", name);
        target[n] = '\0';
        if (symlinkat(target, to_dir, name) < 0 && errno != EEXIST)
            return err_errno(err, "cannot create '%s' in the image", name);
        return 0;
    }
    AUTO_FD int in = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (in < 0)
        return err_errno(err, "cannot open '%s'", name);
    return copy_bytes(in, to_dir, name, st, err);
}

int image_tree_link(int from_dir, int to_dir, const char *name, const struct stat *st,
                    struct err *err)
{
    if (linkat(from_dir, name, to_dir, name, 0) == 0 || errno == EEXIST)
        return 0;
    if (errno == ENOENT) /* gone since it was listed */
        return 0;
    /* Another file system, too many links, or a file system without them. */
    if (errno == EXDEV || errno == EMLINK || errno == EPERM || errno == EOPNOTSUPP)
        return copy_entry(from_dir, to_dir, name, st, err);
    return err_errno(err, "cannot link '%s' into the image", name);
}

static int copy_from(struct image_tree *tree, int from_dir, const char *host_path, struct err *err)
{
    const char *slash = strrchr(host_path, '/');
    struct stat st;
    if (fstatat(from_dir, slash + 1, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : err_errno(err, "cannot read '%s'", host_path);
    if (S_ISDIR(st.st_mode) || !image_tree_is_public(&st))
        return 0;
    const char *name;
    AUTO_FD int parent = image_tree_open_parent(tree, host_path, &name, err);
    if (parent < 0)
        return parent;
    image_tree_count(tree);
    return copy_entry(from_dir, parent, name, &st, err);
}

int image_tree_copy(struct image_tree *tree, const char *path, struct err *err)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(parent, sizeof parent, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    AUTO_FD int from = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (from < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : err_errno(err, "cannot open '%s'", parent);
    return copy_from(tree, from, path, err);
}

int image_tree_copy_entries(struct image_tree *tree, const char *path, struct err *err)
{
    AUTO_DIR DIR *stream = opendir(path);
    if (!stream)
        return errno == ENOENT ? 0 : err_errno(err, "cannot open '%s'", path);
    struct dirent *entry;
    while ((entry = readdir(stream))) {
        char host_path[PATH_MAX];
        if (snprintf(host_path, sizeof host_path, "%s/%s", path, entry->d_name) >=
            (int)sizeof host_path)
            continue;
        int status = entry->d_type == DT_DIR ? 0 : copy_from(tree, dirfd(stream), host_path, err);
        if (status < 0)
            return status;
    }
    return 0;
}
