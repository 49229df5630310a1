/* Names of git's, checked before they are used: branch names and object ids. */
#ifndef CODEX_BASE_REFNAME_H
#define CODEX_BASE_REFNAME_H

#include <stdbool.h>

enum { REFNAME_BRANCH_MAX = 200, /* bytes of a branch name: leaves room for refs/heads/ and .lock */
       GIT_SHA_LEN = 40,
       GIT_SHA_SIZE = 41 };

/* Whether NAME may be a branch, by the rules of git-check-ref-format(1) with --branch: no control
 * character or any of " ~^:?*[\\", no "..", "@{" or "//", no component that starts with "." or ends
 * with ".lock", no "/" or "." at an end; not "HEAD", not "@", no leading "-". Everything else is
 * allowed, also non-ASCII and shell syntax: names reach git as arguments or data, never as code. */
bool refname_branch_valid(const char *name);

/* Exactly 40 lowercase hexadecimal digits. */
bool refname_sha_valid(const char *sha);

#endif
