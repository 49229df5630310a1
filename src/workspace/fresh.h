/* Making a repository with a work tree, a step at a time. */
#ifndef CODEX_WORKSPACE_FRESH_H
#define CODEX_WORKSPACE_FRESH_H

#include <stdbool.h>

#include "base/err.h"
#include "workspace/step.h"

/* `git init` of DIR. */
int fresh_init(const char *dir, const char *branch, struct err *err);

/* BRANCH: HEAD's branch becomes COMMIT; else HEAD itself does. */
int fresh_head(const char *git_dir, const char *commit, bool branch, struct err *err);

/* The files of HEAD, and the index. */
int fresh_files(const char *dir, const char *git_dir, struct err *err);

/* Before files are: in GIT_DIR a filter that puts contents of Git LFS in the place of their pointers and takes
 * them away again, and those that came along behind the bundle FD. */
int fresh_large_files(const char *git_dir, int fd, struct err *err);

/* Only the latter. What is damaged is said, and stays a pointer. */
void fresh_take_large_files(const char *git_dir, int fd);

/* The author of the step as the repository's user. */
int fresh_identity(const struct step *step, const char *git_dir, struct err *err);

#endif
