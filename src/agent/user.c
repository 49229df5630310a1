#include "agent/user.h"

#include <errno.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/privilege.h"
#include "base/sandbox_layout.h"
#include "base/str.h"
#include "base/user_env.h"

int user_become(const struct tool_host *host)
{
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    return host->drop ? privilege_drop(host->uid, host->gid) : 0;
}

void user_enter_files(const struct tool_host *host)
{
    if (!host->drop)
        return;
    setfsgid(host->gid);
    setfsuid(host->uid);
}

void user_leave_files(const struct tool_host *host)
{
    if (!host->drop)
        return;
    setfsuid(geteuid());
    setfsgid(getegid());
}

char **user_environment(const struct tool_host *host)
{
    const char *slash = strrchr(host->workdir, '/');
    AUTO_FREE char *parent = slash && slash != host->workdir
                                 ? str_format("%.*s", (int)(slash - host->workdir), host->workdir)
                                 : str_dup("/");
    /* Root is at home where the task's user is, and set-up was. */
    static const char *const roots[] = {USER_ENV_TRUSTING_GIT, NULL};
    return host->uid == 0 ? user_env_new(SANDBOX_UID, parent, roots)
                          : user_env_new(host->uid, parent, NULL);
}
