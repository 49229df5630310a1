/*
 * A person's own repository, read and written as that person. Its configuration is not ours:
 * nothing here runs a program that it names.
 */
#ifndef CODEX_GIT_REPOSITORY_H
#define CODEX_GIT_REPOSITORY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/object_id.h"

#define REPOSITORY_HEADS "refs/heads/"

struct repository {
    char *path;    /* absolute, without links: the work tree's top, or the bare repository itself */
    char *git_dir; /* absolute; of a linked worktree its own directory */
    bool shallow;
};

/*
 * Open the repository that PATH is in: PATH or the nearest directory above it that has a .git or is
 * bare. ERR_NOT_FOUND when there is none; ERR_REFUSED for one that cannot be handled (SHA-256, a
 * broken one, a path with control characters, as root one that is not root's alone). Release it also
 * after a failure.
 */
int repository_open(const char *path, struct repository *repository, struct err *err);
void repository_release(struct repository *repository);

/* Make the bare and empty repository GIT_DIR, with nothing of the host's templates. */
int repository_init(const char *git_dir, struct err *err);

/* A name to look up, and what it is: SHA is "" when there is no such commit. */
struct repository_name {
    const char *name; /* no newline in it */
    char sha[OBJECT_ID_SIZE];
};

enum { REPOSITORY_NAMES_MAX = 64 };

/* Look up COUNT names, in one go. A tag stands for the commit that it names. */
int repository_look_up(const char *git_dir, struct repository_name *names, size_t count,
                       struct err *err);

/* The commit of the branch BRANCH (a valid name) into SHA, "" when there is none. ERR_REFUSED when
 * it cannot be created either: git keeps refs as files, so "a" and "a/b" exclude each other. */
int repository_find_branch(const char *git_dir, const char *branch, char sha[/* OBJECT_ID_SIZE */],
                           struct err *err);

/* 1 when COMMIT is among BASE and what BASE descends from, else 0; both exist. */
int repository_contains(const char *git_dir, const char *base, const char *commit, struct err *err);

/* Where the repository GIT_DIR, which may be a linked worktree's, keeps the files of Git LFS; the caller
 * frees. NULL on failure. */
char *repository_large_files(const char *git_dir, struct err *err);

/* 0 when git can walk from COMMIT down to BASE without missing anything. */
int repository_check_complete(const char *git_dir, const char *commit, const char *base,
                              struct err *err);

#endif
