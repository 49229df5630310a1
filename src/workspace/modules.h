/*
 * Submodules in the workspace: repositories of their own within the work tree, with the commits that
 * came along behind the base bundle (git/parts.h). They have no remote either. What cannot be
 * checked out is said on standard error, and stays an empty directory.
 */
#ifndef CODEX_WORKSPACE_MODULES_H
#define CODEX_WORKSPACE_MODULES_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/object_id.h"
#include "workspace/step.h"
#include "workspace/worktree.h"

/* Check out the submodules of the index of the repository in DIR, and theirs, from the parts of the
 * file FD; those that are there move to the commit that the index has, if they can. FIRST: also say
 * what was left out on the way here. */
void modules_check_out(const struct step *step, const char *dir, int fd, bool first);

/*
 * In the staged index INDEX of WORKTREE, put back what BASE has for each submodule that the agent has
 * moved to a commit which its remote need not have: the branch that is delivered would lead nowhere.
 * A commit below that of BASE stays. Names these, and submodules with changes that cannot be
 * delivered, on standard error.
 */
int modules_settle(const struct worktree *worktree, const char *index, const char *base,
                   struct err *err);

/* The submodules among what `git ls-files --stage -z` printed, one by one: *AT is where to go on, and
 * at first LIST's start. Returns the path, and in SHA the commit; NULL at the end. */
const char *modules_next(const struct buf *list, const char **at, char sha[OBJECT_ID_SIZE]);

#endif
