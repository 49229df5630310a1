/*
 * Whose a sandbox's users and files are. As root: a range of ids that no other sandbox has, and
 * mounts that map it to the ids on disk. Rootless there is one range, and what is on disk has its
 * ids; a directory of the user's own can only be uid 1000's inside when uid 1000 is that user.
 */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sandbox_layout.h"
#include "base/str.h"
#include "sandbox/rootless.h"
#include "sandbox/sandbox_internal.h"

static void choose_map(struct sandbox *sandbox, bool with_own_user)
{
    unsigned base = sandbox->range.base, user = SANDBOX_UID;
    if (with_own_user) {
        sandbox->map[0] = (struct mounts_extent){0, base, user};
        sandbox->map[1] = (struct mounts_extent){user, 0, 1};
        sandbox->map[2] =
            (struct mounts_extent){user + 1, base + user + 1, UID_RANGE_SIZE - user - 1};
        sandbox->map_count = 3;
    } else {
        sandbox->map[0] = (struct mounts_extent){0, base, UID_RANGE_SIZE};
        sandbox->map_count = 1;
    }
}

int sandbox_open_ids(struct sandbox *sandbox, const struct sandbox_options *options,
                     struct err *err)
{
    bool rootless = sandbox->host->rootless;
    int status = 0;
    if (rootless)
        sandbox->range.base = ROOTLESS_BASE;
    else
        status = uid_range_take(&sandbox->range, SANDBOX_RUN_DIR, err);
    if (status < 0)
        return status;
    choose_map(sandbox, rootless && options->workspace.path);
    sandbox->users_fd =
        mounts_open_users(sandbox->range.base, sandbox->map, sandbox->map_count, err);
    return sandbox->users_fd < 0 ? sandbox->users_fd : 0;
}

uid_t sandbox_outer_uid(const struct sandbox *sandbox, uid_t uid)
{
    for (size_t i = 0; i < sandbox->map_count; i++)
        if (uid >= sandbox->map[i].inside && uid - sandbox->map[i].inside < sandbox->map[i].count)
            return sandbox->map[i].outside + (uid - sandbox->map[i].inside);
    return (uid_t)-1; /* of no file and no process */
}

int sandbox_bind(const struct sandbox *sandbox, const char *from, const char *to, int ids_fd,
                 bool read_only, struct err *err)
{
    return sandbox->host->rootless ? mounts_bind(from, to, read_only, err)
                                   : mounts_bind_idmapped(from, to, ids_fd, read_only, err);
}

int sandbox_own(const struct sandbox *sandbox, const char *path, uid_t uid, struct err *err)
{
    uid_t owner = sandbox->host->rootless ? sandbox_outer_uid(sandbox, uid) : uid;
    return chown(path, owner, owner) < 0 ? err_errno(err, "cannot give '%s' away", path) : 0;
}

int sandbox_settle_user(const struct sandbox *sandbox, const char *root, struct err *err)
{
    static const char *const paths[] = {SANDBOX_HOME, SANDBOX_HOME "/.bashrc",
                                        SANDBOX_HOME "/.profile", SANDBOX_WORKSPACE};
    uid_t user = sandbox_outer_uid(sandbox, SANDBOX_UID);
    for (size_t i = 0; user == 0 && i < sizeof paths / sizeof paths[0]; i++) {
        AUTO_FREE char *path = str_format("%s%s", root, paths[i]);
        if (lchown(path, user, user) < 0 && errno != ENOENT)
            return err_errno(err, "cannot change the owner of '%s' in a sandbox", paths[i]);
    }
    return 0;
}

int sandbox_check_workspace(const struct sandbox *sandbox, const char *path, const struct stat *st,
                            struct err *err)
{
    if (!S_ISDIR(st->st_mode))
        return err_set(err, ERR_USAGE, "'%s' is not a directory", path);
    if (sandbox->host->rootless && (st->st_uid != 0 || st->st_gid != 0))
        return err_set(err, ERR_USAGE,
                       "'%s' is not yours and your group's: without root it cannot be a workspace",
                       path);
    return 0;
}
