/* Loop devices: a file as a block device, until its last user is gone. */
#ifndef CODEX_SANDBOX_LOOP_DEVICE_H
#define CODEX_SANDBOX_LOOP_DEVICE_H

#include <stdbool.h>

#include "base/err.h"

enum { LOOP_DEVICE_PATH_SIZE = 32 };

/* Whether there are any for us. ERR says why not. */
bool loop_device_is_possible(struct err *err);

/* Attach the file PATH to a free one, whose name goes to DEVICE. Returns a descriptor of it: the
 * device is given back by the kernel when that and every mount are gone. */
int loop_device_attach(const char *path, bool read_only, char device[LOOP_DEVICE_PATH_SIZE],
                       struct err *err);

/* Whether a device is attached to the file PATH for writing: 1 or 0. */
int loop_device_uses(const char *path, struct err *err);

#endif
