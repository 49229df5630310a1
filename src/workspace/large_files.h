/* Files in Git LFS: what a repository has of them are pointers, and nothing here can upload. */
#ifndef CODEX_WORKSPACE_LARGE_FILES_H
#define CODEX_WORKSPACE_LARGE_FILES_H

#include "base/err.h"
#include "workspace/worktree.h"

/*
 * In the staged index INDEX of WORKTREE, put back what BASE has for each changed path whose attribute
 * is filter=lfs, or nothing where it has nothing: a large file would be pushed into the repository in
 * place of a pointer, or a pointer to what nobody has. Contents that BASE has somewhere stay (a
 * pointer that was renamed), and so do changes where BASE has no pointer itself. Names what it puts
 * back on standard error, and returns 1 when there was any.
 */
int large_files_settle(const struct worktree *worktree, const char *index, const char *base,
                       struct err *err);

#endif
