/* Becoming the user that a daemon serves as, for good. */
#ifndef CODEX_BASE_SERVICE_USER_H
#define CODEX_BASE_SERVICE_USER_H

#include <sys/types.h>

#include "base/err.h"

struct service_user {
    char name[64];
    uid_t uid;
    gid_t gid;
};

/* Who we are. */
int service_user_self(struct service_user *out, struct err *err);

/* Look NAME up. ERR_NOT_FOUND when there is no such user. */
int service_user_find(struct service_user *out, const char *name, struct err *err);

/*
 * Become USER in this process: his group and no other, no capability in any set, no_new_privs, no
 * core dumps, and not dumpable, so that not even processes of the same uid can look into it.
 * An ordinary user stays himself, with his groups; the rest is the same. Nothing gives any of that back; this is checked before it returns. On failure the process must
 * not go on.
 */
int service_user_become(const struct service_user *user, struct err *err);

#endif
