/*
 * Files in Git LFS to and from a remote repository, by the program git-lfs: from the forge itself with its
 * login, and from where that says that they are. Where the repository says that its files are
 * (.lfsconfig) is not asked. Errors are those of git/remote.h.
 */
#ifndef CODEX_GIT_REMOTE_LARGE_H
#define CODEX_GIT_REMOTE_LARGE_H

#include "git/large_files.h"
#include "git/remote.h"

/* Have FILES, what COMMIT of the mirror has pointers to, in the mirror. ERR_LIMIT when they are more than SIZE_MAX
 * bytes; some may have come when it fails. */
int remote_large_fetch(struct remote *remote, const char *commit, int64_t size_max,
                       const struct large_files *files, struct err *err);

/* Upload FILES, which the repository GIT_DIR has. */
int remote_large_push(struct remote *remote, const char *git_dir, const struct large_files *files,
                      struct err *err);

#endif
