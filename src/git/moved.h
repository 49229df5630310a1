/* What a branch has got since a task began on it. */
#ifndef CODEX_GIT_MOVED_H
#define CODEX_GIT_MOVED_H

#include "git/verbs.h"

/*
 * Print "commit TIP" and "behind N", the number of commits that TIP has and REQUEST->base_commit has
 * not; unless N is 0, write them to BUNDLE_FD as a bundle (BUNDLE_REF_MOVED). REQUEST->commit, when
 * GIT_DIR has it, is one that the task also builds on: what it has does not count.
 */
int moved_write(const char *git_dir, const char *tip, const struct verb_request *request,
                int bundle_fd, struct err *err);

#endif
