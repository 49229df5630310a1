#include "base/user_env.h"

#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/job_env.h"
#include "base/proxy_env.h"
#include "base/str.h"

enum { FIXED_MAX = 32 };

static const char usual_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static const char *const fixed[] = {"SHELL=/bin/bash", "LANG=C.UTF-8",  "TERM=dumb",
                                    "PAGER=cat",       "GIT_PAGER=cat", "NO_COLOR=1"};

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

/* Those of KNOWN that we have, as we have them: names, or "NAME=value" of which the value does not
 * count. Returns how many. */
static size_t add_ours(char **env, const char *const *known)
{
    size_t count = 0;
    for (; *known; known++) {
        AUTO_FREE char *name = str_format("%.*s", (int)strcspn(*known, "="), *known);
        const char *value = getenv(name);
        if (value)
            env[count++] = str_format("%s=%s", name, value);
    }
    return count;
}

static bool is_directory(const char *path)
{
    struct stat st;
    return path && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

char **user_env_new(uid_t uid, const char *fallback_home, const char *const *extra)
{
    AUTO_FREE char *name = NULL;
    AUTO_FREE char *home = NULL;
    size_t extras = 0, n = 0;
    while (extra && extra[extras])
        extras++;
    char **env = calloc(FIXED_MAX + extras, sizeof *env);
    if (!env)
        abort();
    find_user(uid, &name, &home);
    const char *path = getenv("PATH");
    env[n++] = str_format("HOME=%s", is_directory(home) ? home : fallback_home);
    env[n++] = str_format("PATH=%s", path && *path ? path : usual_path);
    if (name) {
        env[n++] = str_format("USER=%s", name);
        env[n++] = str_format("LOGNAME=%s", name);
    }
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        env[n++] = str_dup(fixed[i]);
    n += add_ours(env + n, proxy_env);
    n += add_ours(env + n, job_env);
    for (size_t i = 0; i < extras; i++)
        env[n++] = str_dup(extra[i]);
    return env;
}

void user_env_free(char **env)
{
    for (size_t i = 0; env && env[i]; i++)
        free(env[i]);
    free(env);
}

const char *user_env_get(char *const *env, const char *name)
{
    size_t len = strlen(name);
    for (; *env; env++)
        if (!strncmp(*env, name, len) && (*env)[len] == '=')
            return *env + len + 1;
    return NULL;
}
