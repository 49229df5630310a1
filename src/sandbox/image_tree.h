/*
 * Putting files into an image that is being made. Paths are the host's, absolute; in the image they
 * are resolved below ROOT, so that a link such as /var/run -> /run never leads back to the host.
 */
#ifndef CODEX_SANDBOX_IMAGE_TREE_H
#define CODEX_SANDBOX_IMAGE_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/err.h"
#include "sandbox/image.h"

struct image_tree {
    int root; /* the image's root directory */
    image_progress_fn *progress;
    void *arg;
    uint64_t entries, expected;
    bool rootless; /* /usr is left out: it is shown from the host, and cannot be linked to */
    unsigned percent;
};

/* Count one entry, and tell the progress when it moved by a percent. */
void image_tree_count(struct image_tree *tree);

/* Whether everybody on the host may read what ST describes, and running it gives no privilege. */
bool image_tree_is_public(const struct stat *st);

/* Hard-link FROM (name NAME in directory FROM_DIR) as TO_DIR/NAME; copy where a link cannot be. */
int image_tree_link(int from_dir, int to_dir, const char *name, const struct stat *st,
                    struct err *err);

/* An independent copy of the regular file or symbolic link PATH, with mode and owner. What is
 * missing or not public is left out quietly. */
int image_tree_copy(struct image_tree *tree, const char *path, struct err *err);

/* The same for every entry (not directory) right below the directory PATH. */
int image_tree_copy_entries(struct image_tree *tree, const char *path, struct err *err);

int image_tree_make_dir(struct image_tree *tree, const char *path, mode_t mode, uid_t uid,
                        gid_t gid, struct err *err);
int image_tree_make_link(struct image_tree *tree, const char *path, const char *target,
                         struct err *err);
int image_tree_write(struct image_tree *tree, const char *path, mode_t mode, uid_t uid, gid_t gid,
                     const char *text, struct err *err);

/* The directory that holds PATH in the image, made with its parents when it is not there. Returns a
 * descriptor; *NAME is the last component of PATH. */
int image_tree_open_parent(struct image_tree *tree, const char *path, const char **name,
                           struct err *err);

/* The parts of an image. */
int image_farm_build(struct image_tree *tree, struct err *err);
int image_skeleton_build(struct image_tree *tree, struct err *err);
int image_packages_build(struct image_tree *tree, struct err *err);
int image_proxy_build(struct image_tree *tree, struct err *err);

/* Everything belongs to the ids of a sandbox from now on (rootless.h), and what belongs to nobody,
 * because it was the host root's, to the sandbox's root. */
int image_owners_shift(struct image_tree *tree, struct err *err);

#endif
