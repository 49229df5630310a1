/*
 * Files in Git LFS: commits have pointers to them (git-lfs, docs/spec.md), of which each names a content
 * by its SHA-256; a repository has contents below lfs/objects.
 *
 * Between repositories contents travel behind a bundle, as a part of its file (git/parts.h): for each a
 * line "<id> <size>\n", and its bytes. Whoever takes them sees that they are what the id says.
 */
#ifndef CODEX_GIT_LARGE_FILES_H
#define CODEX_GIT_LARGE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "git/parts.h"

enum {
    LARGE_FILES_MAX = 20000,
    LARGE_FILE_ID_LEN = 64,
    LARGE_FILE_ID_SIZE = 65,
    LARGE_FILE_POINTER_MAX = 1024, /* bytes; "must be less than 1024", docs/spec.md */
};

#define LARGE_FILES_DIRECTORY "lfs" /* in a repository's directory */

struct large_file {
    char id[LARGE_FILE_ID_SIZE]; /* SHA-256 in hexadecimal */
    int64_t size;                /* bytes */
};

struct large_files {
    struct large_file *list;
    size_t count;
    int64_t size; /* of all together */
};

void large_files_release(struct large_files *files);
int large_files_add(struct large_files *files, const struct large_file *file, struct err *err);

/* What TEXT is a pointer to; false when it is none. */
bool large_file_parse(const char *text, size_t len, struct large_file *file);

/* FILE's pointer, as git-lfs writes it. */
void large_file_format(const struct large_file *file, struct buf *out);

/* Whether an attribute file in COMMIT puts anything into Git LFS: most repositories have nothing there. */
bool large_files_are_used(const char *git_dir, const char *commit);

/* Those that COMMIT's tree has pointers to, each once; with BASE those of all commits that COMMIT has
 * and BASE has not. ERR_LIMIT for more than LARGE_FILES_MAX. Release it also after a failure. */
int large_files_find(const char *git_dir, const char *commit, const char *base,
                     struct large_files *files, struct err *err);

/* FILE by its id among FILES, as large_files_find() has them; NULL. */
struct large_file *large_files_search(const struct large_files *files,
                                      const struct large_file *file);

/* Whether the repository that keeps them in STORE, "<git_dir>/lfs", has the content; and how many of FILES it
 * has not. */
bool large_file_is_stored(const char *store, const struct large_file *file);
size_t large_files_count_missing(const char *store, const struct large_files *files);

/* Where STORE has it, or would; the caller frees. */
char *large_file_path(const char *store, const struct large_file *file);

/* A new file in STORE, for a content on its way; its descriptor, and its path in *PATH, which the caller frees. */
int large_file_create(const char *store, char **path, struct err *err);

/* It holds all of FILE: from now on it is that; DURABLE: on the disk. */
int large_file_keep(int fd, const char *path, const char *store, const struct large_file *file,
                    bool durable, struct err *err);

/* Write the contents that STORE has of FILES to the file FD at its position, which is its end, as a
 * part; none is written when it has none. A damaged one counts as not there. */
int large_files_write(int fd, const char *store, const struct large_files *files, struct err *err);

/* The next of PART in the file FD: *AT is where to go on, and at first part->start. 1, and its content
 * ends where *AT is then; 0 at the end; ERR_PROTOCOL. */
int large_files_next(int fd, const struct part *part, int64_t *at, struct large_file *file,
                     struct err *err);

/* What the parts of FD have. Release it also after a failure. */
int large_files_list(int fd, struct large_files *files, struct err *err);

/* Put all contents that the parts of FD have into STORE, made when it is not there; DURABLE: they are on the
 * disk then. ERR_PROTOCOL for one that is not what its id says, and for more than LARGE_FILES_MAX. */
int large_files_take(int fd, const char *store, bool durable, struct err *err);

/* The contents that the parts of FROM have, as a part of TO, where each is looked at. ERR_PROTOCOL also for one that
 * is not in WANTED, or there twice; WANTED is used up by it. */
int large_files_copy(int from, int to, struct large_files *wanted, struct err *err);

#endif
