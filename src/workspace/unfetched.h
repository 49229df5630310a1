/* What a commit refers to and a checkout does not have: submodules, files in Git LFS. */
#ifndef CODEX_WORKSPACE_UNFETCHED_H
#define CODEX_WORKSPACE_UNFETCHED_H

/* Say it about HEAD of GIT_DIR, whose work tree is DIR, on standard error, a line each; nothing where
 * there is none. That it cannot be found out is no failure. */
void unfetched_say(const char *git_dir, const char *dir);

#endif
