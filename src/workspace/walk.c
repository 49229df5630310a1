#include "workspace/walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

/* A directory on the way from the top to the current one. */
struct frame {
    dev_t dev;
    ino_t ino;
    size_t path_len;  /* of the path that leads to it */
    size_t names_len; /* of `names` without its own subdirectories that are still to come */
};

struct walk {
    const struct walk_callbacks *callbacks;
    int top;
    int dir; /* the current one */
    struct buf path;
    struct buf names; /* NUL-terminated; those of the current directory are the last */
    struct frame *frames;
    size_t depth, room;
};

static void leave_out(struct walk *walk, const char *why)
{
    walk->callbacks->left_out(walk->callbacks->arg, walk->path.data, why);
}

static void truncate_to(struct buf *buf, size_t len)
{
    buf->len = len;
    buf->data[len] = '\0';
}

static void push(struct walk *walk, const struct stat *st)
{
    if (walk->depth == walk->room) {
        walk->room = walk->room ? walk->room * 2 : 64;
        walk->frames = reallocarray(walk->frames, walk->room, sizeof walk->frames[0]);
        if (!walk->frames)
            abort();
    }
    walk->frames[walk->depth++] =
        (struct frame){st->st_dev, st->st_ino, walk->path.len, walk->names.len};
}

/* Call back for one entry of the current directory, whose name the path ends with. */
static int visit(struct walk *walk, const char *name, const struct stat *st, struct err *err)
{
    const struct walk_entry entry = {walk->dir, name, walk->path.data, *st};
    return walk->callbacks->entry(walk->callbacks->arg, &entry, err);
}

/* Directories are for later, everything else is visited. */
static int take_entry(struct walk *walk, const char *name, struct err *err)
{
    struct stat st;
    size_t path_len = walk->path.len;
    if (buf_appendf(&walk->path, "/%s", name) < 0) {
        leave_out(walk, "something in it is too deep");
        return 0;
    }
    int status = 0;
    if (fstatat(walk->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT)
            leave_out(walk, strerror(errno));
    } else if (!S_ISDIR(st.st_mode)) {
        status = visit(walk, name, &st, err);
    } else if (buf_append(&walk->names, name, strlen(name) + 1) < 0) {
        status = err_set(err, ERR_LIMIT, "more directories than can be kept in mind");
    }
    truncate_to(&walk->path, path_len);
    return status;
}

/* The current directory: itself, then what is in it. */
static int take_directory(struct walk *walk, struct err *err)
{
    struct stat st;
    if (fstat(walk->dir, &st) < 0)
        return err_errno(err, "cannot look at '%s'", walk->path.data);
    push(walk, &st);
    int status = visit(walk, ".", &st, err);
    AUTO_DIR DIR *stream = fdopendir(fcntl(walk->dir, F_DUPFD_CLOEXEC, 0));
    if (!stream)
        leave_out(walk, strerror(errno));
    struct dirent *entry;
    while (status == 0 && stream && (errno = 0, entry = readdir(stream)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = take_entry(walk, entry->d_name, err);
    if (status == 0 && stream && errno)
        leave_out(walk, strerror(errno));
    return status;
}

static int open_directory(int at, const char *name)
{
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

static bool is_frame(int dir, const struct frame *frame)
{
    struct stat st;
    return fstat(dir, &st) == 0 && st.st_dev == frame->dev && st.st_ino == frame->ino;
}

/* The directory of the last frame again, by the names that lead to it from the top. */
static int reopen(struct walk *walk)
{
    AUTO_FD int dir = fcntl(walk->top, F_DUPFD_CLOEXEC, 0);
    char *name = walk->path.data + walk->frames[0].path_len;
    while (dir >= 0 && *name) {
        char *end = strchrnul(++name, '/');
        char saved = *end;
        *end = '\0';
        int next = open_directory(dir, name);
        *end = saved;
        close(dir);
        dir = next;
        name = end;
    }
    return dir >= 0 && is_frame(dir, &walk->frames[walk->depth - 1]) ? steal_fd(&dir) : -1;
}

/* From the current directory to the one that it is in. ".." is that one, unless it was moved. */
static void go_up(struct walk *walk)
{
    walk->depth--;
    if (!walk->depth)
        return;
    const struct frame *frame = &walk->frames[walk->depth - 1];
    truncate_to(&walk->path, frame->path_len);
    int up = walk->dir < 0 ? -1 : open_directory(walk->dir, "..");
    if (walk->dir >= 0)
        close(walk->dir);
    if (up >= 0 && !is_frame(up, frame)) {
        close(up);
        up = -1;
    }
    walk->dir = up >= 0 ? up : reopen(walk);
    if (walk->dir < 0) {
        leave_out(walk, "it was moved meanwhile: the rest of it");
        truncate_to(&walk->names, frame->names_len);
    }
}

/* Into the last of the current directory's subdirectories that are still to come. */
static int go_down(struct walk *walk, struct err *err)
{
    size_t start = walk->names.len - 1;
    while (start > walk->frames[walk->depth - 1].names_len && walk->names.data[start - 1])
        start--;
    const char *name = walk->names.data + start;
    size_t path_len = walk->path.len;
    int dir = open_directory(walk->dir, name);
    int saved = errno;
    int fits = buf_appendf(&walk->path, "/%s", name);
    truncate_to(&walk->names, start);
    if (dir >= 0 && fits == 0) {
        close(walk->dir);
        walk->dir = dir;
        return take_directory(walk, err);
    }
    if (dir >= 0)
        close(dir);
    else if (saved != ENOENT && saved != ENOTDIR && saved != ELOOP)
        leave_out(walk, strerror(saved));
    truncate_to(&walk->path, path_len);
    return 0;
}

static int walk_all(struct walk *walk, struct err *err)
{
    int status = take_directory(walk, err);
    while (status == 0 && walk->depth) {
        if (walk->names.len > walk->frames[walk->depth - 1].names_len)
            status = go_down(walk, err);
        else
            go_up(walk);
    }
    return status;
}

int walk_tree(int top, const char *name, const struct walk_callbacks *callbacks, struct err *err)
{
    struct walk walk = {.callbacks = callbacks, .top = top, .dir = fcntl(top, F_DUPFD_CLOEXEC, 0)};
    if (walk.dir < 0)
        return err_errno(err, "cannot keep '%s' open", name);
    buf_init(&walk.path, WALK_PATH_MAX);
    buf_init(&walk.names, WALK_NAMES_MAX);
    buf_append_str(&walk.path, name);
    int status = walk_all(&walk, err);
    buf_release(&walk.path);
    buf_release(&walk.names);
    free(walk.frames);
    if (walk.dir >= 0)
        close(walk.dir);
    return status;
}
