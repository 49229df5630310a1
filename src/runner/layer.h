/*
 * Environment layers: the base commit checked out, and what it depends on installed. Made once, in
 * a sandbox of its own that the agent never sees, and put below the writable layer of every sandbox
 * of every task that starts there:
 *
 *     layers/<name>/          upper: the files, or disk: holds upper; checkout: the checkout step's
 *                             result
 *     layers/<name>.new/      while it is made
 *     layers/<name>.lock      held shared by who uses it, alone by who makes or removes it
 *     sandboxes/<run>/layer   the name of the layer that the run's workspace needs
 *
 * The name is codexd's key of what goes into it, and the key of the image that it lies on.
 */
#ifndef CODEX_RUNNER_LAYER_H
#define CODEX_RUNNER_LAYER_H

#include <limits.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    LAYER_NAME_SIZE = 128,
    LAYERS_KEPT = 16, /* beside those in use; the ones used last */
    LAYER_RESULT_MAX = 65536,
};

struct layer {
    int lock_fd; /* -1: none is held */
    char name[LAYER_NAME_SIZE];
    char path[PATH_MAX];     /* of the layer: layers/<name> */
    char building[PATH_MAX]; /* where it is made: layers/<name>.new */
    char below[PATH_MAX]; /* holds `upper`, once it is open: `path`, or where its disk is mounted */
};

/* Take the layer NAME below the state directory STATE. 1: it is there, and nobody removes it while
 * it is held. 0: it is not, and it is ours to make. -EAGAIN: somebody makes or removes it: try
 * again. */
int layer_take(struct layer *layer, const char *state, const char *name, struct err *err);

/* `building` is complete: it becomes the layer, with what the checkout said, and whether the commands
 * of its tasks are root's. Old layers that nobody needs are removed. */
int layer_publish(struct layer *layer, const char *state, const struct buf *checkout,
                  bool as_root, struct err *err);

/* Find the layer's files, on its own disk where it was made on one: that is mounted in this
 * program's mount namespace, which the sandboxes of a run share. */
int layer_open(struct layer *layer, struct err *err);

/* The same of a layer that is there. */
int layer_read_checkout(const struct layer *layer, struct buf *checkout, bool *as_root,
                        struct err *err);

/* Give it back; what is unfinished is removed. */
void layer_release(struct layer *layer);

/* Which layer the run with the directory SANDBOXES (sandboxes/<run>) needs; "" when it has none
 * yet. */
void layer_read_need(const char *sandboxes, char name[LAYER_NAME_SIZE]);
int layer_write_need(const char *sandboxes, const char *name, struct err *err);

#endif
