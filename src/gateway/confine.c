#include "gateway/confine.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/privilege.h"
#include "gateway/syscalls.h"

enum { DESCRIPTORS = 4096 };

/* Without CAP_SETPCAP the bounding set stays, and no_new_privs makes it worthless. */
static int drop_bounding_set(void)
{
    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EPERM)
            return -errno;
    return 0;
}

/* A connection of the proxy has two, and up to a few more while its name is resolved. */
static int raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    if (limit.rlim_cur >= DESCRIPTORS)
        return 0;
    limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
    return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 0;
}

static int close_the_doors(void)
{
    struct rlimit none = {0, 0};
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
        return -errno;
    return 0;
}

int confine(struct err *err)
{
    int status = drop_bounding_set();
    if (status == 0)
        status = raise_descriptors();
    if (status == 0)
        status = geteuid() == 0 ? privilege_drop(CONFINE_UID, CONFINE_UID) : privilege_renounce();
    if (status == 0) /* changing the user has made the process dumpable again: after that */
        status = close_the_doors();
    if (status < 0)
        return err_set(err, status, "cannot give up privileges: %s", strerror(-status));
    return syscalls_restrict(err);
}
