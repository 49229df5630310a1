/*
 * Sandboxes without root: everything happens in a user namespace in which the user that we were
 * started by is root, and his subordinate ids (subuid(5)) are the ids 1 to 65536. The kernel counts
 * nobody in there as root of anything else.
 *
 * The ids 1 to 65536 are those of sandboxes, of all of the user's: there is one range. What else a
 * root's sandbox has, and these have not, is in rootless_lacks[], and is said wherever somebody could
 * count on it.
 */
#ifndef CODEX_SANDBOX_ROOTLESS_H
#define CODEX_SANDBOX_ROOTLESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

enum { ROOTLESS_BASE = 1 }; /* what a sandbox's root is in our namespace */

/* What sandboxes of ordinary users lack, a line for each, ending with NULL. */
extern const char *const rootless_lacks[];

/* Started by root, do nothing. Else go into such a namespace, with a mount namespace in which we have
 * /run, and run this program anew there with ARGV: in there geteuid() is 0. (Anew, because until then
 * what the kernel hides from others of /proc/PID it gives to the machine's root.) Call this first, with
 * the descriptors that it shall have. Returns only what was wrong: ERR_SANDBOX, with one line that says
 * what to do. */
int rootless_enter(char **argv, struct err *err);

/* Whether this process is root only of a namespace that rootless_enter() has made. */
bool rootless_is(void);

/* The user whose namespace it is, as the machine knows him. */
void rootless_user(uid_t *uid, gid_t *gid);

/* In a child that has nothing more to do with sandboxes: become that user again, as he sees himself, in
 * a namespace of his own without any other id. Async-signal-safe. Returns 0 or -errno. */
int rootless_be_user(uid_t uid, gid_t gid);

/* ERR_SANDBOX unless the ids that sandboxes need are there. */
int rootless_check(struct err *err);

#endif
