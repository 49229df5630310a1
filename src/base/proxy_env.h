/*
 * The variables by which programs in a sandbox find the way to the internet. The runner sets them
 * for what it starts there; codex-agent passes them on to the task's commands.
 */
#ifndef CODEX_BASE_PROXY_ENV_H
#define CODEX_BASE_PROXY_ENV_H

/* "NAME=value" strings for SANDBOX_PROXY, ending with NULL. */
extern const char *const proxy_env[];

#endif
