/*
 * Which commands install what a repository depends on.
 *
 * The top directory is looked at, and directories below it down to DEPS_DEPTH_MAX; in each, every
 * kind of project is looked for by its lock file first, else by its manifest
 * (docs/dependencies.md has the table). A directory below one that has a kind already is asked
 * for that kind only when it has a lock file of its own: it is a member of the workspace above
 * otherwise.
 *
 * Only files are read; nothing of the repository runs.
 */
#ifndef CODEX_WORKSPACE_DEPS_H
#define CODEX_WORKSPACE_DEPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    DEPS_COMMANDS_MAX = 32, /* what is beyond is left out, and said */
    DEPS_DEPTH_MAX = 3,
    DEPS_DIRECTORIES_MAX = 1000, /* looked at */
};

struct deps_command {
    char *line;        /* for `bash -lc` */
    char *dir;         /* relative; "." is the top */
    const char *found; /* the file that it is for; NULL: somebody wrote the line */
};

struct deps_plan {
    struct deps_command commands[DEPS_COMMANDS_MAX];
    size_t count;
    bool cut;             /* there were more */
    uint64_t fingerprint; /* of the commands and of the files that decided on them: the same again
                             means that there is nothing to do again. Not cryptographic: who makes
                             two the same deceives himself */
};

/* Whether a program can be found by PATH. */
struct deps_probe {
    bool (*program)(void *arg, const char *name);
    void *arg;
};

/* Find the commands for the directory DIR. 0 also when there are none. Release PLAN also after a
 * failure. */
int deps_find(const char *dir, const struct deps_probe *probe, struct deps_plan *plan,
              struct err *err);

/* Add LINE (copied), which a person wrote, to be run at the top. */
void deps_use(const char *line, struct deps_plan *plan);

/* Let the fingerprint depend on every lock file and manifest that deps_find() knows, at the places
 * where it looks: for lines that a person wrote, which say nothing of what they read. */
int deps_mix_files(const char *dir, struct deps_plan *plan, struct err *err);

void deps_plan_release(struct deps_plan *plan);

#endif
