/* Which files with several names have been met, and under which name first. */
#ifndef CODEX_WORKSPACE_HARDLINKS_H
#define CODEX_WORKSPACE_HARDLINKS_H

#include <stddef.h>
#include <sys/stat.h>

enum {
    HARDLINKS_MAX = 1 << 18,        /* files that are kept in mind, */
    HARDLINKS_BYTES_MAX = 64 << 20, /* and bytes of their names; one more counts as not met yet */
};

struct hardlinks {
    struct hardlink *slots; /* open addressing; a power of two of them */
    size_t size, count, bytes;
};

void hardlinks_init(struct hardlinks *links);
void hardlinks_release(struct hardlinks *links);

/* The name under which ST's file was met first, or NULL: then PATH is (copied). */
const char *hardlinks_meet(struct hardlinks *links, const struct stat *st, const char *path);

#endif
