/*
 * Mirrors: a bare repository for each remote one, with the objects of the commits that tasks start
 * from. Nothing that a task made is ever in it. A commit is whole in it exactly when its ref
 * refs/codex/commits/<commit> is there: git makes that after it has checked.
 */
#ifndef CODEX_GIT_MIRROR_H
#define CODEX_GIT_MIRROR_H

#include <stdbool.h>

#include "git/remote.h"

/* Make the remote's mirror, an existing directory, a repository unless it is one. */
int mirror_open(struct remote *remote, struct err *err);

/* 1 when COMMIT is there, else 0. */
int mirror_has(struct remote *remote, const char *commit, struct err *err);

/* Fetch COMMIT unless it is there. ERR_NOT_FOUND: the remote no longer has it. */
int mirror_fetch(struct remote *remote, const char *commit, struct err *err);

/* Fetch the branch BRANCH for COMMIT, as refs/codex/looks/<commit>, and say whether it contains
 * COMMIT: 1 or 0. */
int mirror_look(struct remote *remote, const char *branch, const char *commit, struct err *err);

#endif
