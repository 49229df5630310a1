/* Repositories inside the work tree that are no submodules. */
#ifndef CODEX_WORKSPACE_NESTED_H
#define CODEX_WORKSPACE_NESTED_H

#include <stdbool.h>

#include "base/err.h"
#include "workspace/worktree.h"

/*
 * In the staged index INDEX of WORKTREE, put the files of each such repository in place of the
 * reference that git has staged for it, or of nothing if it has no commit (INCOMPLETE: something
 * could not be staged, so there may be such). What BASE has as a submodule stays one, and so does
 * everything if the agent has changed .gitmodules. Names each on standard error.
 */
int nested_include(const struct worktree *worktree, const char *index, const char *base,
                   bool incomplete, struct err *err);

#endif
