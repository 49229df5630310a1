/* The hard-link farm: /usr without local and src. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sandbox/image_tree.h"

/* Deeper than any package goes; each level holds two descriptors. */
enum { FARM_DEPTH_MAX = 64 };

static int farm_directory(struct image_tree *tree, int from, int to, unsigned depth,
                          struct err *err);

static int farm_subdirectory(struct image_tree *tree, int from, int to, const char *name,
                             mode_t mode, unsigned depth, struct err *err)
{
    AUTO_FD int from_child = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (from_child < 0)
        return errno == ENOENT ? 0 : err_errno(err, "cannot open '%s'", name);
    if (mkdirat(to, name, 0755) < 0)
        return err_errno(err, "cannot create '%s' in the image", name);
    AUTO_FD int to_child = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (to_child < 0 || fchmod(to_child, mode & 0777) < 0)
        return err_errno(err, "cannot open '%s' in the image", name);
    int status = farm_directory(tree, from_child, to_child, depth + 1, err);
    return status < 0 ? err_context(err, "%s", name) : 0;
}

static int farm_entry(struct image_tree *tree, int from, int to, const char *name, unsigned depth,
                      struct err *err)
{
    if (depth == 0 && (!strcmp(name, "local") || !strcmp(name, "src")))
        return 0;
    struct stat st;
    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : err_errno(err, "cannot read '%s'", name);
    if (!image_tree_is_public(&st))
        return 0;
    image_tree_count(tree);
    if (S_ISDIR(st.st_mode))
        return farm_subdirectory(tree, from, to, name, st.st_mode, depth, err);
    return image_tree_link(from, to, name, &st, err);
}

static int farm_directory(struct image_tree *tree, int from, int to, unsigned depth,
                          struct err *err)
{
    if (depth > FARM_DEPTH_MAX)
        return err_set(err, -ELOOP, "directories nested too deeply");
    AUTO_DIR DIR *stream = fdopendir(dup(from));
    if (!stream)
        return err_errno(err, "cannot list a directory");
    struct dirent *entry;
    while ((entry = readdir(stream))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        int status = farm_entry(tree, from, to, entry->d_name, depth, err);
        if (status < 0)
            return status;
    }
    return 0;
}

/* What a directory such as /lib is on this host: a link into /usr, or a directory of its own. */
static int farm_top(struct image_tree *tree, const char *path, struct err *err)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : err_errno(err, "cannot read '%s'", path);
    if (S_ISLNK(st.st_mode))
        return image_tree_copy(tree, path, err);
    if (tree->rootless && !strcmp(path, "/usr"))
        return 0;
    AUTO_FD int from = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (from < 0)
        return err_errno(err, "cannot open '%s'", path);
    int status = image_tree_make_dir(tree, path, 0755, 0, 0, err);
    if (status < 0)
        return status;
    AUTO_FD int to = openat(tree->root, path + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (to < 0)
        return err_errno(err, "cannot open '%s' in the image", path);
    status = farm_directory(tree, from, to, 0, err);
    return status < 0 ? err_context(err, "%s", path) : 0;
}

int image_farm_build(struct image_tree *tree, struct err *err)
{
    static const char *const tops[] = {"/usr",   "/bin",   "/sbin",  "/lib",
                                       "/lib32", "/lib64", "/libx32"};
    for (size_t i = 0; i < sizeof tops / sizeof tops[0]; i++) {
        int status = farm_top(tree, tops[i], err);
        if (status < 0)
            return status;
    }
    return 0;
}
