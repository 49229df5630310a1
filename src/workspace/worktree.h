/*
 * From a directory of files to a tree of git's: what `git add --all` would stage, in an index of
 * our own, so that the workspace's stays as the agent left it and a lock that a killed git left
 * there does not matter.
 */
#ifndef CODEX_WORKSPACE_WORKTREE_H
#define CODEX_WORKSPACE_WORKTREE_H

#include <stddef.h>

#include "base/err.h"
#include "base/object_id.h"
#include "git/command.h"

struct worktree {
    const char *git_dir; /* whose objects and settings are used */
    const char *dir;     /* the files */
    const char *scratch; /* an existing directory for our index */
};

/*
 * The tree of everything in the work tree that is not ignored, into TREE. Beside what the
 * repository ignores, what tools leave behind (`__pycache__`, `node_modules` …) is, unless it is
 * tracked or the repository says otherwise: most repositories ignore it, and nobody wants it
 * delivered. START: the commit that the index starts from when INDEX, a copy of which is faster, is
 * NULL or cannot be used. BASE: the commit whose submodules are known.
 *
 * A repository in the work tree that is no submodule comes along as ordinary files: it would
 * otherwise be a reference to a commit that nobody has. A file that cannot be read is left out, and so
 * is what cannot be delivered: see workspace/huge_files.h, modules.h and large_files.h. All of it is said
 * on standard error. Returns 1 when large files were left out, which START may have.
 */
int worktree_write(const struct worktree *worktree, const char *index, const char *start,
                   const char *base, char tree[/* OBJECT_ID_SIZE */], struct err *err);

/* Keep the COUNT bytes of NAMES (paths, each ended by a NUL) out of what is staged, by info/exclude of
 * the repository GIT_DIR. */
int worktree_exclude(const char *git_dir, const char *names, size_t count, struct err *err);

/* A git command on DIR of WORKTREE with the index NAME in its scratch directory. The strings that
 * it needs are kept in ROOM. */
struct worktree_command {
    struct git_command git;
    char index[4200];
    char excludes[4200];
};
void worktree_command_init(struct worktree_command *command, const struct worktree *worktree,
                           const char *dir, const char *name);

/* `git add --all` there, with what it complains about on standard error. Returns 1 when it had to
 * leave something out. */
int worktree_stage(const struct worktree *worktree, const char *dir, const char *name,
                   struct err *err);

/* `git write-tree` of that index. */
int worktree_write_tree(const struct worktree *worktree, const char *name, char *tree,
                        struct err *err);

#endif
