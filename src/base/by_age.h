/* What is in a directory, ordered by when it was changed last: for caches whose oldest entries go. */
#ifndef CODEX_BASE_BY_AGE_H
#define CODEX_BASE_BY_AGE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct by_age {
    char name[NAME_MAX + 1];
    struct timespec changed;
};

/* The entries of the directory DIR (a descriptor) whose names are WANTED, the youngest first, into
 * *OUT, which the caller frees. Returns their number; 0 when it cannot be read. */
size_t by_age_list(int dir, bool (*wanted)(const char *name), struct by_age **out);

#endif
