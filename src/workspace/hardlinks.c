#include "workspace/hardlinks.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

struct hardlink {
    dev_t dev;
    ino_t ino;
    char *path; /* NULL: the slot is free */
};

void hardlinks_init(struct hardlinks *links)
{
    *links = (struct hardlinks){0};
}

void hardlinks_release(struct hardlinks *links)
{
    for (size_t i = 0; i < links->size; i++)
        free(links->slots[i].path);
    free(links->slots);
    hardlinks_init(links);
}

/* The slot of the file, or the free one where it belongs. */
static struct hardlink *find(const struct hardlinks *links, dev_t dev, ino_t ino)
{
    uint64_t hash = (ino ^ dev << 40) * 0x9e3779b97f4a7c15ULL; /* 2^64 / golden ratio */
    for (size_t i = hash >> 32;; i++) {
        struct hardlink *slot = &links->slots[i & (links->size - 1)];
        if (!slot->path || (slot->dev == dev && slot->ino == ino))
            return slot;
    }
}

static void grow(struct hardlinks *links)
{
    struct hardlinks larger = *links;
    larger.size = links->size ? links->size * 2 : 256;
    larger.slots = calloc(larger.size, sizeof larger.slots[0]);
    if (!larger.slots)
        abort();
    for (size_t i = 0; i < links->size; i++)
        if (links->slots[i].path)
            *find(&larger, links->slots[i].dev, links->slots[i].ino) = links->slots[i];
    free(links->slots);
    *links = larger;
}

const char *hardlinks_meet(struct hardlinks *links, const struct stat *st, const char *path)
{
    if (links->count * 2 >= links->size)
        grow(links);
    struct hardlink *slot = find(links, st->st_dev, st->st_ino);
    if (slot->path)
        return slot->path;
    size_t bytes = strlen(path) + 1;
    if (links->count == HARDLINKS_MAX || links->bytes + bytes > HARDLINKS_BYTES_MAX)
        return NULL;
    *slot = (struct hardlink){st->st_dev, st->st_ino, str_dup(path)};
    links->count++;
    links->bytes += bytes;
    return NULL;
}
