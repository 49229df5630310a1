/* Becoming somebody with less rights, for good, in a child that is about to run a program. */
#ifndef CODEX_RUNNER_PRIVILEGES_H
#define CODEX_RUNNER_PRIVILEGES_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/* Of what nobody owns: codex-gateway, and the codex-git that reads what a sandbox wrote. */
enum { PRIVILEGES_NOBODY = 65534, PRIVILEGES_GROUPS_MAX = 256 };

struct privileges {
    uid_t uid;
    gid_t gid;
    bool keeps_groups; /* those that the process has; it may not change them */
    size_t groups_count;
    gid_t groups[PRIVILEGES_GROUPS_MAX];
};

void privileges_nobody(struct privileges *who);

/* What a gateway is born in, for process_options.namespaces. */
enum { PRIVILEGES_ALONE = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC };

/* privileges_drop() to nobody, with a /proc that shows only the caller: for process_options.prepare,
 * together with PRIVILEGES_ALONE. Others of that uid are at work too (codex-git on another task's
 * files), and could be looked into there. */
int privileges_become_lone_nobody(void *unused);

/* The user UID with his groups. Who is not in the user database has the group GID and no other. */
int privileges_of_user(struct privileges *who, uid_t uid, gid_t gid, struct err *err);

/*
 * Become WHO: no capability in any set (not even as uid 0), no_new_privs, no core dumps; nothing
 * gives them back. Checked before it returns. 0 or -errno: then the caller must not go on. After
 * fork, in a single-threaded child.
 */
int privileges_drop(const struct privileges *who);

#endif
