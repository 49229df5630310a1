/* Names of git branches, as an outsider may give them. */
#ifndef CODEX_BASE_REFNAME_H
#define CODEX_BASE_REFNAME_H

#include <stdbool.h>

#include "base/err.h"

enum { REFNAME_MAX_BYTES = 200 };

/* 0 when NAME can be a branch: the rules of git-check-ref-format(1) with --branch, and at most
 * REFNAME_MAX_BYTES. ERR_USAGE otherwise, with the reason. */
int refname_check_branch(const char *name, struct err *err);

/* Whether BASE, as `codex-git resolve` gives it, names a branch: that is there by its short name, and
 * all else starts with refs/ or is an object id. */
bool refname_is_branch(const char *base);

#endif
