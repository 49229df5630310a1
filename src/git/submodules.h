/* What a commit may not do to whoever runs `git submodule update` on its branch. */
#ifndef CODEX_GIT_SUBMODULES_H
#define CODEX_GIT_SUBMODULES_H

#include "base/err.h"

/*
 * Compare the .gitmodules of COMMIT with that of BASE. ERR_REFUSED when it has a setting that BASE
 * has not and that names a command or a place on the reader's machine: a URL of a remote helper
 * ("ext::sh -c …"), a file:// URL or absolute path, a leading "-", an "update = !command".
 * git-fsck(1) has checked the rest.
 */
int submodules_check(const char *git_dir, const char *base, const char *commit, struct err *err);

#endif
