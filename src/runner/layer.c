#include "runner/layer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/by_age.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/str.h"
#include "sandbox/disk.h"
#include "sandbox/sandbox.h"

/* How long the sandbox that a layer was made in may take to write out what it holds. */
enum { UNUSED_WAIT_MS = 60000 };

/* [a-z0-9-]: nothing that leads elsewhere. */
static bool name_is_valid(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return len > 0 && len < LAYER_NAME_SIZE && !name[len];
}

static int set_paths(struct layer *layer, const char *state, const char *name, struct err *err)
{
    *layer = (struct layer){.lock_fd = -1};
    if (!name_is_valid(name))
        return err_set(err, ERR_PROTOCOL, "bad name of a layer");
    snprintf(layer->name, sizeof layer->name, "%s", name);
    if (snprintf(layer->path, sizeof layer->path, "%s/layers/%s", state, name) >= PATH_MAX ||
        snprintf(layer->building, sizeof layer->building, "%s/layers/%s.new", state, name) >=
            PATH_MAX)
        return err_set(err, -ENAMETOOLONG, "path too long");
    return 0;
}

/* The lock file of NAME in DIR, open; -1 when it was removed under our hands. */
static int open_lock(int dir, const char *name, int how)
{
    char file[LAYER_NAME_SIZE + sizeof ".lock"];
    snprintf(file, sizeof file, "%s.lock", name);
    AUTO_FD int fd = openat(dir, file, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    struct stat held, named;
    if (fd < 0 || flock(fd, how | LOCK_NB) < 0 || fstat(fd, &held) < 0 ||
        fstatat(dir, file, &named, AT_SYMLINK_NOFOLLOW) < 0 || held.st_ino != named.st_ino)
        return -1;
    return steal_fd(&fd);
}

static bool is_there(const struct layer *layer)
{
    struct stat st;
    return lstat(layer->path, &st) == 0 && S_ISDIR(st.st_mode);
}

int layer_take(struct layer *layer, const char *state, const char *name, struct err *err)
{
    int status = set_paths(layer, state, name, err);
    if (status < 0)
        return status;
    char layers[PATH_MAX];
    snprintf(layers, sizeof layers, "%s/layers", state);
    AUTO_FD int dir = io_open_private_dir(layers, err);
    if (dir < 0)
        return dir;
    bool there = is_there(layer);
    layer->lock_fd = open_lock(dir, name, there ? LOCK_SH : LOCK_EX);
    if (layer->lock_fd < 0 || there != is_there(layer)) {
        layer_release(layer);
        return err_set(err, -EAGAIN, "the layer is being made");
    }
    if (there)
        utimensat(AT_FDCWD, layer->path, NULL, 0); /* used now: layers are trimmed by it */
    return there;
}

/* ---- removing old ones */

/* Whether a workspace of the server lies on the layer NAME. */
static bool is_needed(const char *state, const char *name)
{
    char path[PATH_MAX], need[LAYER_NAME_SIZE];
    snprintf(path, sizeof path, "%s/sandboxes", state);
    AUTO_DIR DIR *stream = opendir(path);
    struct dirent *entry;
    while (stream && (entry = readdir(stream))) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%.3000s/sandboxes/%s", state, entry->d_name);
        layer_read_need(path, need);
        if (!strcmp(need, name))
            return true;
    }
    return false;
}

static void remove_unused(int dir, const char *state, const char *name)
{
    AUTO_FD int lock = open_lock(dir, name, LOCK_EX);
    if (lock < 0 || is_needed(state, name))
        return;
    char file[NAME_MAX + sizeof ".lock"], making[NAME_MAX + sizeof ".new"];
    snprintf(making, sizeof making, "%s.new", name);
    snprintf(file, sizeof file, "%s.lock", name);
    /* Renamed first: half a layer must not look like one. */
    io_remove_tree_at(dir, making, NULL);
    if (renameat(dir, name, dir, making) == 0 || errno == ENOENT)
        io_remove_tree_at(dir, making, NULL);
    unlinkat(dir, file, 0);
}

static void trim(const char *state)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/layers", state);
    AUTO_FD int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    AUTO_FREE struct by_age *layers = NULL;
    size_t count = dir < 0 ? 0 : by_age_list(dir, name_is_valid, &layers);
    for (size_t i = LAYERS_KEPT; i < count; i++)
        remove_unused(dir, state, layers[i].name);
}

/* ---- making */

int layer_publish(struct layer *layer, const char *state, const struct buf *checkout, bool as_root,
                  struct err *err)
{
    AUTO_FD int dir = open(layer->building, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return err_errno(err, "cannot open '%s'", layer->building);
    AUTO_FREE char *disk = str_format("%s/disk", layer->building);
    int status = 0;
    if (access(disk, F_OK) == 0) /* all of it has to be in there before it is synced */
        status = disk_wait_unused(disk, clock_mono_ms() + UNUSED_WAIT_MS, err);
    if (status == 0)
        status = io_replace_file_at(dir, "checkout", checkout->data, checkout->len, 0600, err);
    if (status == 0 && as_root)
        status = io_replace_file_at(dir, "as-root", "", 0, 0600, err);
    if (status == 0)
        status = io_remove_tree_at(dir, "work", err); /* overlayfs's own */
    /* Workspaces that lie on it survive a crash of the machine: so must it. */
    if (status == 0 && syncfs(dir) < 0)
        status = err_errno(err, "cannot sync the layer");
    if (status == 0 && rename(layer->building, layer->path) < 0)
        status = err_errno(err, "cannot rename '%s'", layer->building);
    if (status < 0)
        return status;
    flock(layer->lock_fd, LOCK_SH);
    trim(state);
    return 0;
}

int layer_open(struct layer *layer, struct err *err)
{
    static const char at[] = SANDBOX_RUN_DIR "/private/layer";
    AUTO_FREE char *disk = str_format("%s/disk", layer->path);
    bool on_disk = access(disk, F_OK) == 0;
    snprintf(layer->below, sizeof layer->below, "%s", on_disk ? at : layer->path);
    if (!on_disk)
        return 0;
    if (mkdir(at, 0700) < 0)
        return err_errno(err, "cannot create directory '%s'", at);
    return disk_mount(disk, at, true, err);
}

int layer_read_checkout(const struct layer *layer, struct buf *checkout, bool *as_root,
                        struct err *err)
{
    AUTO_FREE char *mark = str_format("%s/as-root", layer->path);
    *as_root = access(mark, F_OK) == 0;
    AUTO_FREE char *path = str_format("%s/checkout", layer->path);
    return io_read_file(path, checkout, err);
}

void layer_release(struct layer *layer)
{
    if (layer->lock_fd < 0)
        return;
    if (!is_there(layer)) /* we were to make it, and hold it alone */
        io_remove_tree_at(AT_FDCWD, layer->building, NULL);
    close(layer->lock_fd);
    layer->lock_fd = -1;
}

/* ---- who needs it */

void layer_read_need(const char *sandboxes, char name[LAYER_NAME_SIZE])
{
    AUTO_FREE char *path = str_format("%s/layer", sandboxes);
    AUTO_BUF struct buf text;
    buf_init(&text, LAYER_NAME_SIZE);
    name[0] = '\0';
    if (io_read_file(path, &text, NULL) == 0 && name_is_valid(text.data))
        snprintf(name, LAYER_NAME_SIZE, "%s", text.data);
}

int layer_write_need(const char *sandboxes, const char *name, struct err *err)
{
    AUTO_FD int dir = open(sandboxes, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return err_errno(err, "cannot open '%s'", sandboxes);
    return io_replace_file_at(dir, "layer", name, strlen(name), 0600, err);
}
