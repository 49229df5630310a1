/*
 * What a login shell makes of the environment, so that not every command has to find it out again.
 *
 * `bash -lc` reads /etc/profile and its like first, which on Debian starts a process (id -u) and
 * more than doubles the time of a trivial command (2.2 ms instead of 1.0). So a login shell is
 * asked once for the environment and the state (functions, aliases, variables, options, limits,
 * umask) that it reaches; then a plain shell that is given that environment is asked for the same.
 * Only if both agree to the byte do later commands run as `bash -c` with the environment. As soon
 * as a start-up file or the home directory changes, and whenever something is unlike a plain shell,
 * it is `bash -lc` again.
 */
#ifndef CODEX_AGENT_TOOLS_LOGIN_H
#define CODEX_AGENT_TOOLS_LOGIN_H

#include "agent/tools/command.h"

struct login;

/* BASE is the environment that login shells start with. Everything given must outlive it. */
struct login *login_new(const struct tool_host *host, const struct command_limits *limits,
                        char *const *base);

/* The environment for `bash -c` that stands for `bash -lc` in BASE; NULL when there is none
 * (now). */
char *const *login_environment(const struct login *login);

/* Find it out in the background, when it is not known or no longer holds. */
void login_refresh(struct login *login);

/* How many processes are at it; and to end them. */
size_t login_running(const struct login *login);
void login_signal(const struct login *login, int signal);

void login_free(struct login *login);

#endif
