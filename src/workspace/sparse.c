#include "workspace/sparse.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

bool sparse_possible(const struct stat *st)
{
    return S_ISREG(st->st_mode) && (int64_t)st->st_blocks < st->st_size / 512;
}

static void add(struct sparse_map *map, int64_t start, int64_t end, int64_t hole_min)
{
    struct extent *last = map->count ? &map->extents[map->count - 1] : NULL;
    if (last && start - (last->offset + last->length) < hole_min)
        last->length = end - last->offset;
    else if (map->count < SPARSE_EXTENTS_MAX)
        map->extents[map->count++] = (struct extent){start, end - start};
    else
        map->count = SPARSE_EXTENTS_MAX + 1; /* they do not fit */
}

/* 1: read; 0: more extents than fit; negative: not known. */
static int read_extents(int fd, int64_t size, int64_t hole_min, struct sparse_map *map)
{
    map->count = 0;
    for (int64_t at = 0; at < size;) {
        int64_t start = lseek(fd, at, SEEK_DATA);
        if (start < 0)
            return errno == ENXIO ? 1 : -errno; /* nothing but a hole is left */
        int64_t end = start < size ? lseek(fd, start, SEEK_HOLE) : size;
        if (end < 0)
            return -errno;
        if (start >= size)
            return 1;
        add(map, start, end < size ? end : size, hole_min);
        if (map->count > SPARSE_EXTENTS_MAX)
            return 0;
        at = end;
    }
    return 1;
}

bool sparse_map_read(int fd, int64_t size, struct sparse_map *map)
{
    map->extents = calloc(SPARSE_EXTENTS_MAX, sizeof map->extents[0]);
    if (!map->extents)
        abort();
    int status = 0;
    for (int64_t hole_min = 4096; status == 0 && hole_min <= size; hole_min *= 16)
        status = read_extents(fd, size, hole_min, map);
    if (lseek(fd, 0, SEEK_SET) < 0)
        status = -errno;
    return status == 1;
}

void sparse_map_release(struct sparse_map *map)
{
    free(map->extents);
    *map = (struct sparse_map){0};
}
