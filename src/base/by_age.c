#include "base/by_age.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"

static int youngest_first(const void *a, const void *b)
{
    const struct timespec *x = &((const struct by_age *)a)->changed;
    const struct timespec *y = &((const struct by_age *)b)->changed;
    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? 1 : -1;
    return (x->tv_nsec < y->tv_nsec) - (x->tv_nsec > y->tv_nsec);
}

size_t by_age_list(int dir, bool (*wanted)(const char *name), struct by_age **out)
{
    AUTO_DIR DIR *stream = io_list_dir(dir);
    size_t count = 0, cap = 0;
    struct dirent *entry;
    struct stat st;
    *out = NULL;
    while (stream && (entry = readdir(stream))) {
        if (!wanted(entry->d_name) || fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (count == cap) {
            cap = cap ? cap * 2 : 64;
            *out = reallocarray(*out, cap, sizeof **out);
            if (!*out)
                abort();
        }
        strcpy((*out)[count].name, entry->d_name);
        (*out)[count++].changed = st.st_mtim;
    }
    if (count)
        qsort(*out, count, sizeof **out, youngest_first);
    return count;
}
