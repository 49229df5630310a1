/*
 * The environment that a task's commands start with: the user's own, and what keeps programs from
 * paging, colouring and asking. Of ours, only PATH and what is in proxy_env.h and job_env.h is passed on.
 */
#ifndef CODEX_BASE_USER_ENV_H
#define CODEX_BASE_USER_ENV_H

#include <sys/types.h>

/* More of them, for root in directories of the task's user: git would refuse to work there. */
#define USER_ENV_TRUSTING_GIT                                                                      \
    "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"

/* HOME is the directory of UID in /etc/passwd if it is there, else FALLBACK_HOME. EXTRA: more
 * "NAME=value" strings (copied), ending with NULL. The result ends with NULL; user_env_free()
 * it. */
char **user_env_new(uid_t uid, const char *fallback_home, const char *const *extra);
void user_env_free(char **env);

/* The value of NAME in ENV, or NULL. */
const char *user_env_get(char *const *env, const char *name);

#endif
