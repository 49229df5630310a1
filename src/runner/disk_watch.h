/* Looking, while a step runs, how full its sandbox's disk is: nothing tells us when a write has
 * failed inside. What is filled and emptied between two looks is not seen. */
#ifndef CODEX_RUNNER_DISK_WATCH_H
#define CODEX_RUNNER_DISK_WATCH_H

#include <stdbool.h>

#include "loop/loop.h"
#include "sandbox/sandbox.h"

struct disk_watch;

/* NAME is "disk" or "inodes", a string that stays. Called at most once, from the loop or
 * disk_watch_end(). */
typedef void disk_watch_fn(void *arg, const char *name);

/* Watch SANDBOX's limit of SIZE until disk_watch_end(); a soft limit only when MEASURE says so. NULL:
 * there is nothing to watch. */
struct disk_watch *disk_watch_start(struct loop *loop, const struct sandbox *sandbox,
                                    const struct disk_size *size, bool measure, disk_watch_fn *fn,
                                    void *arg);

/* Look once more (at a hard limit), and free it. NULL is fine. */
void disk_watch_end(struct disk_watch *watch);

#endif
