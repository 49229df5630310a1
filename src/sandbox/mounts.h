/*
 * Mounts of sandboxes. They are made in a private mount namespace of the program's own, so that the
 * host never sees them, and nothing has to be unmounted when the program dies.
 */
#ifndef CODEX_SANDBOX_MOUNTS_H
#define CODEX_SANDBOX_MOUNTS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* Give this process a mount namespace of its own, and mount an empty tmpfs of at most SIZE_BYTES on
 * DIRECTORY (made when missing) in it. Paths of DIRECTORY can be searched by everybody: the root
 * user of a sandbox has to pass. */
int mounts_make_private(const char *directory, size_t size_bytes, struct err *err);

/* How ids on disk show through an idmapped mount: `count` ids from `disk` on become those from
 * `host` on. */
struct mounts_ids {
    uid_t disk_uid;
    gid_t disk_gid;
    uid_t host;
    unsigned count;
    /* Of the user namespace that the map belongs to. What is counted in it for each user (queued
     * signals, message queues, inotify) is counted for its owner as well: were that root, one
     * sandbox could take all of it from the whole machine. */
    uid_t owner;
};

/* A part of a map of ids: COUNT ids from INSIDE on are those from OUTSIDE on. */
struct mounts_extent {
    unsigned inside, outside, count;
};
enum { MOUNTS_EXTENTS_MAX = 3 };

/* A descriptor of a new user namespace with the MAP for users and groups. OWNER: as above. */
int mounts_open_users(uid_t owner, const struct mounts_extent *map, size_t count, struct err *err);

/* A descriptor that stands for IDS: of a user namespace, whose map the kernel takes. */
int mounts_open_ids(const struct mounts_ids *ids, struct err *err);

/* Mount the directory FROM at TO (which exists) with the ids of IDS_FD, nosuid and nodev; READ_ONLY
 * as it says. */
int mounts_bind_idmapped(const char *from, const char *to, int ids_fd, bool read_only,
                         struct err *err);

/* Mount the directory FROM at TO (which exists), nosuid and nodev; READ_ONLY as it says. */
int mounts_bind(const char *from, const char *to, bool read_only, struct err *err);

struct mounts_overlay {
    const char *directory; /* the names below begin there: no path of the host shows in mountinfo */
    const char *lower, *upper, *work, *target;
    uid_t owner;    /* root of the sandbox, on the host: makes what overlayfs itself makes */
    bool rootless;  /* keep what overlayfs notes where an ordinary user may */
    bool volatile_; /* nothing of it has to survive a crash: no fsync reaches the disk */
};
int mounts_overlay(const struct mounts_overlay *overlay, struct err *err);

/* Unmount PATH, now or as soon as its last user is gone. What is not mounted is fine. */
void mounts_detach(const char *path);

/* 0 when each of NAMES (NULL at the end) is a real directory right below ROOT: a runtime that
 * mounts on a link there would do it outside. */
int mounts_check_directories(const char *root, const char *const *names, struct err *err);

#endif
