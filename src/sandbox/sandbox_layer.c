/* The writable layer of a sandbox: two directories for overlayfs, on a disk of their own where there
 * is a limit for it and the machine has loop devices. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "sandbox/mounts.h"
#include "sandbox/sandbox_internal.h"

/* How long somebody who was killed may take to let go of a disk; it writes out what it holds. */
enum { UNUSED_WAIT_MS = 30000 };

const char *sandbox_join(char *out, const char *path, const char *name)
{
    if (snprintf(out, PATH_MAX, "%s/%s", path, name) >= PATH_MAX)
        out[0] = '\0'; /* no such file: the next call that uses it says so */
    return out;
}

int sandbox_make_dir(const char *path, mode_t mode, struct err *err)
{
    if (mkdir(path, mode) < 0 && errno != EEXIST)
        return err_errno(err, "cannot create directory '%s'", path);
    return 0;
}

static bool is_there(const char *directory, const char *name)
{
    char path[PATH_MAX];
    return access(sandbox_join(path, directory, name), F_OK) == 0;
}

/* A disk that is not whole has another name. */
static int make_disk(const struct sandbox_options *options, const char *disk, struct err *err)
{
    char making[PATH_MAX];
    sandbox_join(making, options->directory, "disk.new");
    int status = io_remove_tree_at(AT_FDCWD, making, err);
    if (status == 0)
        status = disk_make(making, &options->limits.disk, options->keep, err);
    if (status == 0 && rename(making, disk) < 0)
        status = err_errno(err, "cannot rename '%s'", making);
    return status;
}

/* One that is there already may have been in use when its runner, or the machine, went down. */
static int find_disk(const char *disk, struct err *err)
{
    int status = disk_wait_unused(disk, clock_mono_ms() + UNUSED_WAIT_MS, err);
    return status < 0 ? status : disk_check(disk, err);
}

static int open_disk(struct sandbox *sandbox, const struct sandbox_options *options,
                     struct err *err)
{
    char disk[PATH_MAX];
    bool found = is_there(options->directory, "disk");
    sandbox_join(disk, options->directory, "disk");
    sandbox_join(sandbox->layer, sandbox->directory, "disk");
    int status = found ? find_disk(disk, err) : make_disk(options, disk, err);
    if (status == 0)
        status = sandbox_make_dir(sandbox->layer, 0700, err);
    if (status == 0)
        status = disk_mount(disk, sandbox->layer, false, err);
    if (status < 0)
        return status;
    sandbox->disk = SANDBOX_DISK_HARD;
    sandbox->disk_fd = open(sandbox->layer, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (sandbox->disk_fd < 0)
        return err_errno(err, "cannot open '%s'", sandbox->layer);
    return options->keep && !found ? disk_keep_reserve(sandbox->disk_fd, err) : 0;
}

/* A layer stays of the kind that it was made. */
static bool wants_disk(const struct sandbox_options *options)
{
    if (is_there(options->directory, "disk"))
        return true;
    return options->limits.disk.bytes && !is_there(options->directory, "upper") &&
           disk_is_possible(NULL);
}

int sandbox_layer_open(struct sandbox *sandbox, const struct sandbox_options *options,
                       struct err *err)
{
    char path[PATH_MAX];
    int status = 0;
    if (!options->keep)
        status = io_remove_tree_at(AT_FDCWD, options->directory, err);
    if (status == 0)
        status = sandbox_make_dir(options->directory, 0700, err);
    snprintf(sandbox->layer, sizeof sandbox->layer, "%s", options->directory);
    if (options->limits.disk.bytes)
        sandbox->disk = SANDBOX_DISK_SOFT;
    if (status == 0 && wants_disk(options))
        status = open_disk(sandbox, options, err);
    if (status == 0)
        status = sandbox_make_dir(sandbox_join(path, sandbox->layer, "upper"), 0755, err);
    if (status == 0)
        status = sandbox_own(sandbox, path, 0, err);
    return status < 0 ? status
                      : sandbox_make_dir(sandbox_join(path, sandbox->layer, "work"), 0700, err);
}

void sandbox_layer_close(struct sandbox *sandbox)
{
    if (sandbox->disk_fd >= 0)
        close(sandbox->disk_fd);
    sandbox->disk_fd = -1;
}

enum sandbox_disk sandbox_disk(const struct sandbox *sandbox)
{
    return sandbox->disk;
}

const char *sandbox_layer(const struct sandbox *sandbox)
{
    return sandbox->layer;
}

int sandbox_read_disk(const struct sandbox *sandbox, struct disk_left *out, struct err *err)
{
    if (sandbox->disk_fd < 0)
        return err_set(err, -ENODEV, "the sandbox has no disk of its own");
    return disk_read_left(sandbox->disk_fd, out, err);
}

void sandbox_give_disk_reserve(struct sandbox *sandbox)
{
    if (sandbox->disk_fd >= 0)
        disk_give_reserve(sandbox->disk_fd);
}
