/*
 * The `host` image: what the sandboxes of a machine have as their lowest layer.
 *
 * A hard-link farm of the world-readable part of /usr (without local and src) beside a skeleton of
 * everything else that Debian's packages expect: their unmodified configuration files,
 * alternatives, the loader's cache, certificates, empty directories, system users, the package
 * database. It costs seconds once and no data on the file system of /usr; elsewhere the files are
 * copied.
 *
 * It lies in IMAGES/host-<key>/root; the key names the state of the host's packages, so that an
 * upgrade makes a new image and never changes one that is in use. IMAGES is 0700: the files have
 * their real owners.
 */
#ifndef CODEX_SANDBOX_IMAGE_H
#define CODEX_SANDBOX_IMAGE_H

#include <limits.h>
#include <stdint.h>

#include "base/err.h"

enum { IMAGE_KEY_SIZE = 17 }; /* 16 hexadecimal digits and a NUL */

struct image {
    int lock_fd; /* of the image's directory, shared: it is not removed while this is open */
    char path[PATH_MAX];      /* of its root directory */
    char key[IMAGE_KEY_SIZE]; /* of the host's packages that it was made from */
};

/* Called while an image is made; PERCENT is 0 to 99 of an estimate, ENTRIES what was linked. */
typedef void image_progress_fn(void *arg, unsigned percent, uint64_t entries);

/* Open the image of this host below IMAGES (a path), and make it first when it is not there: one
 * process makes it while others wait. PROGRESS may be NULL. Older images that nobody uses are
 * removed when a new one has been made. */
int image_open(struct image *image, const char *images, image_progress_fn *progress, void *arg,
               struct err *err);
void image_release(struct image *image);

/* Whether the image of the host as it is now is there already: 1 or 0, or negative. Nothing is
 * made. */
int image_is_made(const char *images, struct err *err);

/* The key of the host as it is now. */
int image_key(char key[IMAGE_KEY_SIZE], struct err *err);

#endif
