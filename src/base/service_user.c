#include "base/service_user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

int service_user_find(struct service_user *out, const char *name, struct err *err)
{
    errno = 0;
    const struct passwd *entry = getpwnam(name);
    if (!entry && errno && errno != ENOENT && errno != ESRCH)
        return err_errno(err, "cannot look up user '%s'", name);
    if (!entry)
        return err_set(err, ERR_NOT_FOUND, "there is no user '%s'", name);
    if (snprintf(out->name, sizeof out->name, "%s", name) >= (int)sizeof out->name)
        return err_set(err, -ENAMETOOLONG, "user '%s' has too long a name", name);
    out->uid = entry->pw_uid;
    out->gid = entry->pw_gid;
    return 0;
}

static int drop_bounding_set(struct err *err)
{
    for (cap_value_t cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
        if (prctl(PR_CAPBSET_DROP, cap) < 0)
            return err_errno(err, "cannot drop capability %d", cap);
    return 0;
}

static int clear_capabilities(struct err *err)
{
    cap_t none = cap_init();
    if (!none)
        abort();
    int status = cap_set_proc(none) < 0 ? err_errno(err, "cannot drop capabilities") : 0;
    cap_free(none);
    return status;
}

static int set_ids(const struct service_user *user, struct err *err)
{
    if (initgroups(user->name, user->gid) < 0)
        return err_errno(err, "cannot take the groups of '%s'", user->name);
    if (setresgid(user->gid, user->gid, user->gid) < 0)
        return err_errno(err, "cannot become group %u", (unsigned)user->gid);
    if (setresuid(user->uid, user->uid, user->uid) < 0)
        return err_errno(err, "cannot become user '%s'", user->name);
    return 0;
}

/* What was dropped must really be gone. */
static int check_dropped(const struct service_user *user, struct err *err)
{
    uid_t uid[3];
    gid_t gid[3];
    if (getresuid(&uid[0], &uid[1], &uid[2]) < 0 || getresgid(&gid[0], &gid[1], &gid[2]) < 0)
        return err_errno(err, "cannot read the own ids");
    for (int i = 0; i < 3; i++)
        if (uid[i] != user->uid || gid[i] != user->gid)
            return err_set(err, -EPERM, "still another user than '%s'", user->name);
    cap_t now = cap_get_proc(), none = cap_init();
    int differ = !now || !none ? -1 : cap_compare(now, none);
    cap_free(now);
    cap_free(none);
    if (differ)
        return err_set(err, -EPERM, "still with capabilities");
    if (setresuid(0, 0, 0) == 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 ||
        prctl(PR_GET_DUMPABLE) != 0)
        return err_set(err, -EPERM, "the rights of root are still within reach");
    return 0;
}

int service_user_become(const struct service_user *user, struct err *err)
{
    static const struct rlimit no_core = {0, 0};
    if (user->uid == 0)
        return err_set(err, ERR_REFUSED, "user '%s' is root", user->name);
    int status = drop_bounding_set(err);
    if (status == 0)
        status = set_ids(user, err);
    if (status == 0)
        status = clear_capabilities(err);
    if (status < 0)
        return status;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0 ||
        setrlimit(RLIMIT_CORE, &no_core) < 0)
        return err_errno(err, "cannot give rights up for good");
    return check_dropped(user, err);
}
