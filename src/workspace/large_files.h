/* Files in Git LFS, in what a task commits. Their contents are in the workspace's lfs/objects, where its filter
 * (large_filter.h) puts those of new ones. */
#ifndef CODEX_WORKSPACE_LARGE_FILES_H
#define CODEX_WORKSPACE_LARGE_FILES_H

#include <stdbool.h>

#include "base/err.h"
#include "workspace/worktree.h"

/*
 * In the staged index INDEX of WORKTREE, put back what BASE has for each changed path whose attribute
 * is filter=lfs, or nothing where it has nothing, when that would push a large file into the repository
 * in place of a pointer, or a pointer to what nobody has. Contents that BASE has somewhere stay (a
 * pointer that was renamed), and so do changes where BASE has no pointer itself, unless only the filter
 * made one there. Names what work it puts back on standard error, and returns 1 when there was any.
 */
int large_files_settle(const struct worktree *worktree, const char *index, const char *base,
                       struct err *err);

/* Whether there is any content in GIT_DIR, of whatever commit: where there is none, none can go along. */
bool large_files_are_kept(const char *git_dir);

/* Whether all contents are here that the commits up to COMMIT, and not BASE, have pointers to. */
bool large_files_are_whole(const char *git_dir, const char *commit, const char *base);

#endif
