/* Whose the files of an image are that an ordinary user has made: no mount maps their ids. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "sandbox/image_tree.h"
#include "sandbox/rootless.h"

enum {
    DEPTH_MAX = 64,
    NOBODY = 65534, /* how ids show that our namespace does not have: the host's root's */
};

static uid_t shifted(uid_t id)
{
    return ROOTLESS_BASE + (id == NOBODY ? 0 : id);
}

static int shift_directory(int dir, unsigned depth, struct err *err);

static int shift_entry(int dir, const char *name, unsigned depth, struct err *err)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(err, "cannot read '%s'", name);
    if (S_ISDIR(st.st_mode)) {
        AUTO_FD int child = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int status = child < 0 ? err_errno(err, "cannot open '%s'", name)
                               : shift_directory(child, depth + 1, err);
        if (status < 0)
            return err_context(err, "%s", name);
    }
    if (fchownat(dir, name, shifted(st.st_uid), shifted(st.st_gid), AT_SYMLINK_NOFOLLOW) < 0 ||
        (!S_ISLNK(st.st_mode) && fchmodat(dir, name, st.st_mode & 07777, 0) < 0))
        return err_errno(err, "cannot change the owner of '%s'", name);
    return 0;
}

static int shift_directory(int dir, unsigned depth, struct err *err)
{
    if (depth > DEPTH_MAX)
        return err_set(err, -ELOOP, "directories nested too deeply");
    AUTO_DIR DIR *stream = io_list_dir(dir);
    if (!stream)
        return err_errno(err, "cannot list a directory");
    struct dirent *entry;
    int status = 0;
    while (status == 0 && (entry = readdir(stream)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = shift_entry(dir, entry->d_name, depth, err);
    return status;
}

int image_owners_shift(struct image_tree *tree, struct err *err)
{
    int status = shift_directory(tree->root, 0, err);
    if (status == 0 && fchown(tree->root, ROOTLESS_BASE, ROOTLESS_BASE) < 0)
        status = err_errno(err, "cannot change the owner of the image");
    return status;
}
