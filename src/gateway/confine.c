#include "gateway/confine.h"

#include <errno.h>
#include <grp.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "gateway/syscalls.h"

static int drop_user(struct err *err)
{
    if (geteuid() != 0)
        return 0;
    if (setgroups(0, NULL) < 0 || setresgid(CONFINE_UID, CONFINE_UID, CONFINE_UID) < 0 ||
        setresuid(CONFINE_UID, CONFINE_UID, CONFINE_UID) < 0)
        return err_errno(err, "cannot become uid %d", CONFINE_UID);
    return 0;
}

/* Without CAP_SETPCAP the bounding set stays, and no_new_privs makes it worthless. */
static int drop_bounding_set(struct err *err)
{
    for (cap_value_t cap = 0; cap_get_bound(cap) >= 0; cap++)
        if (cap_drop_bound(cap) < 0 && errno != EPERM)
            return err_errno(err, "cannot drop capability %d", cap);
    return 0;
}

static int drop_capabilities(struct err *err)
{
    cap_t none = cap_init();
    int status = none && cap_set_proc(none) == 0 ? 0 : err_errno(err, "cannot drop capabilities");
    cap_free(none);
    if (status == 0 && cap_reset_ambient() < 0)
        return err_errno(err, "cannot drop the ambient capabilities");
    return status;
}

static int close_the_doors(struct err *err)
{
    struct rlimit none = {0, 0};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
        setrlimit(RLIMIT_CORE, &none) < 0)
        return err_errno(err, "cannot give up privileges");
    return 0;
}

int confine(struct err *err)
{
    int status = drop_bounding_set(err);
    if (status == 0)
        status = drop_user(err);
    if (status == 0)
        status = drop_capabilities(err);
    if (status == 0) /* changing the user has made the process dumpable again: after that */
        status = close_the_doors(err);
    return status == 0 ? syscalls_restrict(err) : status;
}
