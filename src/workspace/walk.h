/*
 * Walking a directory tree that somebody hostile has made: of any depth and width, with links to
 * anywhere, changing under our hands. Nothing is followed, no path is handed to the kernel, one
 * directory is open at a time, and memory holds the names of the directories that are still to
 * come.
 */
#ifndef CODEX_WORKSPACE_WALK_H
#define CODEX_WORKSPACE_WALK_H

#include <sys/stat.h>

#include "base/err.h"

enum {
    WALK_PATH_MAX = 256 << 10, /* bytes of a path; what is deeper is left out */
    WALK_NAMES_MAX = 64 << 20, /* bytes of names of directories that are still to come */
};

struct walk_entry {
    int dir;          /* the directory that it is in; of a directory, itself */
    const char *name; /* in that directory; "." when it is a directory */
    const char *path; /* from the top, which is called as the caller says */
    struct stat st;
};

struct walk_callbacks {
    /* For the top and everything below; a directory comes before what is in it. Negative: stop. */
    int (*entry)(void *arg, const struct walk_entry *entry, struct err *err);
    /* PATH was left out, WHY. What vanished meanwhile is not mentioned. */
    void (*left_out)(void *arg, const char *path, const char *why);
    void *arg;
};

/* Walk the directory TOP (not closed), calling it NAME. Negative: ERR_LIMIT, or what a callback
 * said. */
int walk_tree(int top, const char *name, const struct walk_callbacks *callbacks, struct err *err);

#endif
