#include "agent/user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

static const char DEFAULT_PATH[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

enum { ENVIRONMENT_MAX = 16 };

int user_become(const struct tool_host *host)
{
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    if (!host->drop)
        return 0;
    /* In this order: without uid 0 the groups could no longer be changed. The kernel clears the
     * capabilities when the last uid that was 0 goes. */
    if (setgroups(0, NULL) < 0 || setresgid(host->gid, host->gid, host->gid) < 0 ||
        setresuid(host->uid, host->uid, host->uid) < 0)
        return -errno;
    return 0;
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

/* The user's name and directory from /etc/passwd: read here, because getpwuid() in a static program
 * would load the image's own libraries. */
static void find_user(uid_t uid, char **name, char **home)
{
    AUTO_FILE FILE *file = fopen("/etc/passwd", "re");
    struct passwd *entry;
    while (file && (entry = fgetpwent(file))) {
        if (entry->pw_uid != uid)
            continue;
        *name = str_dup(entry->pw_name);
        *home = str_dup(entry->pw_dir);
        return;
    }
}

static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return str_dup("/");
    return str_format("%.*s", (int)(slash - path), path);
}

static bool is_directory(const char *path)
{
    struct stat status;
    return path && stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

char **user_environment(const struct tool_host *host)
{
    AUTO_FREE char *name = NULL;
    AUTO_FREE char *home = NULL;
    find_user(host->uid, &name, &home);
    if (!is_directory(home)) {
        free(home);
        home = parent_of(host->workdir);
    }
    const char *path = getenv("PATH");
    char **environment = calloc(ENVIRONMENT_MAX, sizeof *environment);
    if (!environment)
        abort();
    size_t n = 0;
    environment[n++] = str_format("HOME=%s", home);
    environment[n++] = str_format("PATH=%s", path && *path ? path : DEFAULT_PATH);
    if (name) {
        environment[n++] = str_format("USER=%s", name);
        environment[n++] = str_format("LOGNAME=%s", name);
    }
    static const char *const fixed[] = {"SHELL=/bin/bash", "LANG=C.UTF-8",  "TERM=dumb",
                                        "PAGER=cat",       "GIT_PAGER=cat", "NO_COLOR=1"};
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        environment[n++] = str_dup(fixed[i]);
    return environment;
}

void environment_free(char **strings)
{
    for (size_t i = 0; strings && strings[i]; i++)
        free(strings[i]);
    free(strings);
}

const char *environment_get(char *const *environment, const char *name)
{
    size_t len = strlen(name);
    for (; *environment; environment++)
        if (!strncmp(*environment, name, len) && (*environment)[len] == '=')
            return *environment + len + 1;
    return NULL;
}
