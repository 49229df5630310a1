/* Where the data of a file with holes is. */
#ifndef CODEX_WORKSPACE_SPARSE_H
#define CODEX_WORKSPACE_SPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

enum { SPARSE_EXTENTS_MAX = 16384 };

struct extent {
    int64_t offset, length;
};

struct sparse_map {
    struct extent *extents; /* in order, apart; none: the file is one hole */
    size_t count;
};

/* Whether the file can have holes at all. */
bool sparse_possible(const struct stat *st);

/* The extents of the first SIZE bytes of FD. Of a file with more holes than extents are kept for,
 * the smallest holes count as data. False when the file system does not say; then it is all
 * data. */
bool sparse_map_read(int fd, int64_t size, struct sparse_map *map);
void sparse_map_release(struct sparse_map *map);

#endif
