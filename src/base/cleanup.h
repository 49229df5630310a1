/* Cleanup attributes: what a variable owns is released at the end of its scope, unless stolen. */
#ifndef CODEX_BASE_CLEANUP_H
#define CODEX_BASE_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"

static inline void cleanup_free(void *p)
{
    free(*(void **)p);
}
static inline void cleanup_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
static inline void cleanup_file(FILE **file)
{
    if (*file)
        fclose(*file);
}
static inline void cleanup_dir(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}
static inline int steal_fd(int *fd)
{
    int stolen = *fd;
    *fd = -1;
    return stolen;
}
static inline void *steal_pointer(void *p)
{
    void *stolen = *(void **)p;
    *(void **)p = NULL;
    return stolen;
}

#define AUTO_FREE __attribute__((cleanup(cleanup_free)))
#define AUTO_FD   __attribute__((cleanup(cleanup_fd)))
#define AUTO_FILE __attribute__((cleanup(cleanup_file)))
#define AUTO_DIR  __attribute__((cleanup(cleanup_dir)))
#define AUTO_BUF  __attribute__((cleanup(buf_release)))

#endif
