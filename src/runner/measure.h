/* How much of the disk a directory takes: by a child, which gives up after a while. The tree changes
 * meanwhile, and who changes it is hostile: only numbers come back. */
#ifndef CODEX_RUNNER_MEASURE_H
#define CODEX_RUNNER_MEASURE_H

#include <sys/types.h>

#include "base/err.h"
#include "sandbox/disk.h"

/* What the child exits with. */
enum measure_status {
    MEASURE_WITHIN,
    MEASURE_BYTES,   /* more than the size's bytes; or paths that are too long to follow */
    MEASURE_INODES,  /* more files than the size's inodes */
    MEASURE_UNKNOWN, /* it took too long, or the directory cannot be read */
};

/* Start it. Returns its pid, or negative; it ends with us. */
pid_t measure_start(const char *directory, const struct disk_size *size);

/* End one whose result nobody wants, and reap it. */
void measure_end(pid_t pid);

#endif
