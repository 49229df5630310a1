/*
 * The files of a sandbox, put together in its directory. The mounts `lower` (the image), `below` (a
 * layer over it) and `top` (what holds the writable layer) carry the sandbox's ids; the overlay of all
 * is mounted on `root`, after which they are only needed by it and are detached.
 */
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sandbox_layout.h"
#include "sandbox/mounts.h"
#include "sandbox/sandbox_internal.h"

static int mount_root(struct sandbox *sandbox, const struct sandbox_options *options,
                      struct err *err)
{
    char lower[PATH_MAX], below[PATH_MAX], top[PATH_MAX], root[PATH_MAX];
    sandbox_join(lower, sandbox->directory, "lower");
    sandbox_join(below, sandbox->directory, "below");
    sandbox_join(top, sandbox->directory, "top");
    sandbox_join(root, sandbox->directory, "root");
    const char *const made[] = {lower, below, top, root};
    int status = 0;
    for (size_t i = 0; status == 0 && i < sizeof made / sizeof made[0]; i++)
        status = sandbox_make_dir(made[i], 0755, err);
    int ids = sandbox->users_fd;
    if (status == 0)
        status = sandbox_bind(sandbox, sandbox->host->image.path, lower, ids, true, err);
    if (status == 0 && options->below)
        status = sandbox_bind(sandbox, options->below, below, ids, true, err);
    if (status == 0)
        status = sandbox_bind(sandbox, sandbox->layer, top, ids, false, err);
    if (status == 0)
        status = mounts_overlay(
            &(struct mounts_overlay){.directory = sandbox->directory,
                                     .lower = options->below ? "below/upper:lower" : "lower",
                                     .upper = "top/upper",
                                     .work = "top/work",
                                     .target = "root",
                                     .owner = sandbox->range.base,
                                     .rootless = sandbox->host->rootless,
                                     .volatile_ = !options->keep},
            err);
    mounts_detach(lower);
    mounts_detach(below);
    static const char *const mount_points[] = {"dev", "proc",      "sys", "run",
                                               "tmp", "workspace", NULL};
    if (status == 0)
        status = mounts_check_directories(root, mount_points, err);
    return status < 0 ? status : sandbox_settle_user(sandbox, root, err);
}

/* The host's, because an ordinary user can make no links to it. */
static int mount_usr(struct sandbox *sandbox, struct err *err)
{
    static const char *const mount_points[] = {"usr", "usr/local", "usr/src", NULL};
    char root[PATH_MAX], usr[PATH_MAX];
    sandbox_join(root, sandbox->directory, "root");
    int status = mounts_check_directories(root, mount_points, err);
    if (status == 0)
        status = sandbox_make_dir(sandbox_join(usr, sandbox->directory, "usr"), 0755, err);
    return status < 0 ? status : mounts_bind("/usr", usr, true, err);
}

/* The layer that takes what is written to the workspace, with the directory's mode. */
static int make_workspace_layer(const struct sandbox *sandbox, mode_t mode, struct err *err)
{
    char upper[PATH_MAX], work[PATH_MAX];
    sandbox_join(upper, sandbox->layer, "workspace-upper");
    sandbox_join(work, sandbox->layer, "workspace-work");
    int status = sandbox_make_dir(upper, 0755, err);
    if (status == 0)
        status = sandbox_make_dir(work, 0700, err);
    if (status == 0)
        status = sandbox_own(sandbox, upper, SANDBOX_UID, err);
    if (status == 0 && chmod(upper, mode & 0777) < 0)
        status = err_errno(err, "cannot prepare '%s'", upper);
    return status;
}

/* Whoever owns the directory is uid 1000 inside; nobody else's files can be made or taken over
 * there. */
static int mount_workspace(struct sandbox *sandbox, const struct sandbox_options *options,
                           struct err *err)
{
    const struct sandbox_workspace *workspace = &options->workspace;
    struct stat st;
    if (stat(workspace->path, &st) < 0)
        return err_errno(err, "cannot read '%s'", workspace->path);
    if (sandbox_check_workspace(sandbox, workspace->path, &st, err) < 0)
        return err->code;
    char target[PATH_MAX], lower[PATH_MAX];
    sandbox_join(target, sandbox->directory, "workspace");
    sandbox_join(lower, sandbox->directory, "workspace-lower");
    int status = sandbox_make_dir(target, 0755, err);
    if (status == 0)
        status = sandbox_make_dir(lower, 0755, err);
    if (status < 0)
        return status;
    const struct mounts_ids ids = {.disk_uid = st.st_uid,
                                   .disk_gid = st.st_gid,
                                   .host = sandbox->range.base + SANDBOX_UID,
                                   .count = 1,
                                   .owner = sandbox->range.base};
    bool rootless = sandbox->host->rootless;
    AUTO_FD int ids_fd = rootless ? -1 : mounts_open_ids(&ids, err);
    if (ids_fd < 0 && !rootless)
        return ids_fd;
    if (workspace->write)
        return sandbox_bind(sandbox, workspace->path, target, ids_fd, false, err);
    status = sandbox_bind(sandbox, workspace->path, lower, ids_fd, true, err);
    if (status == 0)
        status = make_workspace_layer(sandbox, st.st_mode, err);
    if (status == 0)
        status =
            mounts_overlay(&(struct mounts_overlay){.directory = sandbox->directory,
                                                    .lower = "workspace-lower",
                                                    .upper = "top/workspace-upper",
                                                    .work = "top/workspace-work",
                                                    .target = "workspace",
                                                    .owner = rootless ? 0 : sandbox->range.base,
                                                    .rootless = rootless,
                                                    .volatile_ = true},
                           err);
    mounts_detach(lower);
    return status;
}

int sandbox_mount(struct sandbox *sandbox, const struct sandbox_options *options, struct err *err)
{
    int status = mount_root(sandbox, options, err);
    if (status == 0 && sandbox->host->rootless)
        status = mount_usr(sandbox, err);
    if (status == 0 && options->workspace.path)
        status = mount_workspace(sandbox, options, err);
    return status;
}
