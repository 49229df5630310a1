/*
 * Disks: a file system of a fixed size in one sparse file, so that what is written into it cannot
 * take more of the host's disk, nor more files, than it has. It is mounted by a loop device that
 * goes with its last mount, in a mount namespace that goes with the program.
 *
 * The file system is ext4 without a journal: after a crash of the machine e2fsck looks at it before
 * it is mounted again. Nothing but the kernel ever writes into it.
 */
#ifndef CODEX_SANDBOX_DISK_H
#define CODEX_SANDBOX_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* What a limit may be. One inode for each 16 KiB is what mke2fs thinks of. */
#define DISK_BYTES_MIN       (64ULL << 20)
#define DISK_BYTES_MAX       (8ULL << 40)
#define DISK_BYTES_DEFAULT   (20ULL << 30)
#define DISK_BYTES_PER_INODE 16384
enum { DISK_INODES_MIN = 4096, DISK_INODES_MAX = 1 << 30 };

struct disk_size {
    uint64_t bytes;  /* 0: no limit */
    uint64_t inodes; /* 0: by `bytes` */
};

/* The inodes of SIZE, also where it names none. */
uint64_t disk_inodes(const struct disk_size *size);

/* Whether this machine has loop devices for us. ERR says why not. */
bool disk_is_possible(struct err *err);

/* Make the file PATH, which must not be there. */
int disk_make(const char *path, const struct disk_size *size, bool reserve, struct err *err);

/* Have e2fsck look at a disk that may have been in use when the machine went down; one that was not
 * costs it milliseconds. */
int disk_check(const char *path, struct err *err);

/* Wait until nobody has PATH mounted for writing, as a program that was killed may still have for a
 * moment. */
int disk_wait_unused(const char *path, int64_t deadline_ms, struct err *err);

/* Mount it on the directory AT. mounts_detach() ends that. */
int disk_mount(const char *path, const char *at, bool read_only, struct err *err);

/* What is left of the file system that the open directory FD is in. */
struct disk_left {
    uint64_t bytes, inodes;
};
int disk_read_left(int fd, struct disk_left *out, struct err *err);

/* Room that is kept for the platform, beside the size of a disk with a reserve: fill it, and give it
 * up for the last steps of a run, when a task has taken all the rest. FD is the top directory. */
int disk_keep_reserve(int fd, struct err *err);
void disk_give_reserve(int fd);

#endif
