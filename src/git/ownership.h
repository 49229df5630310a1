/* Repositories that codex-git handles as root: whether nobody else has a hand in them. */
#ifndef CODEX_GIT_OWNERSHIP_H
#define CODEX_GIT_OWNERSHIP_H

#include "base/err.h"

/*
 * As root: 0 when PATH (absolute, without links but for its last component) and every directory
 * above it belong to root and can be changed by root alone, so that no other user can put something
 * of his own in its place, now or later; else ERR_REFUSED. As anybody else: 0, whatever is done
 * there is done with that user's rights.
 */
int ownership_check(const char *path, struct err *err);

#endif
