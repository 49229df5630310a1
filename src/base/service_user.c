#include "base/service_user.h"

#include <errno.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/privilege.h"

int service_user_self(struct service_user *out, struct err *err)
{
    const struct passwd *entry = getpwuid(geteuid());
    out->uid = geteuid();
    out->gid = getegid();
    if (snprintf(out->name, sizeof out->name, "%s", entry ? entry->pw_name : "") >=
        (int)sizeof out->name)
        return err_set(err, -ENAMETOOLONG, "your user name is too long");
    if (!entry)
        snprintf(out->name, sizeof out->name, "%u", (unsigned)out->uid);
    return 0;
}

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
    for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0;
         capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0)
            return err_errno(err, "cannot drop capability %lu", capability);
    return 0;
}

int service_user_become(const struct service_user *user, struct err *err)
{
    static const struct rlimit no_core = {0, 0};
    if (user->uid == 0)
        return err_set(err, ERR_REFUSED, "user '%s' is root", user->name);
    bool ourselves = geteuid() == user->uid;
    int status = ourselves ? 0 : drop_bounding_set(err);
    if (status < 0)
        return status;
    errno = ourselves ? -privilege_renounce() : -privilege_drop(user->uid, user->gid);
    if (errno)
        return err_errno(err, "cannot become user '%s'", user->name);
    /* Changing the user has made the process undumpable, or not, as a sysctl says: now for sure. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0 ||
        setrlimit(RLIMIT_CORE, &no_core) < 0)
        return err_errno(err, "cannot close the process to others");
    return 0;
}
