/*
 * The user that the model's commands and file tools act as: no capability, no way to new ones, and
 * an environment that says nothing of the agent's own.
 */
#ifndef CODEX_AGENT_USER_H
#define CODEX_AGENT_USER_H

#include "agent/tool.h"

/* In a child: become host->uid and gid for good (nothing of it when host->drop is false), without
 * core dumps and without ever gaining a privilege. 0 or -errno. Async-signal-safe, writes no
 * memory. */
int user_become(const struct tool_host *host);

/* Between these two, what we open or look up in the file system is as the user would. Not for
 * writing: a hostile workspace is for children to touch. */
void user_enter_files(const struct tool_host *host);
void user_leave_files(const struct tool_host *host);

/* The environment of commands (base/user_env.h); HOME falls back to the workdir's parent.
 * user_env_free() frees it. */
char **user_environment(const struct tool_host *host);

#endif
