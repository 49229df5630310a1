/* What codexd does while it is still root. */
#ifndef CODEX_PROGRAMS_CODEXD_SETUP_H
#define CODEX_PROGRAMS_CODEXD_SETUP_H

#include "base/service_user.h"
#include "config/config.h"
#include "config/paths.h"

/* The user of [server], who is not root. */
int setup_user(struct service_user *user, const struct config *config, struct err *err);

/* The directories of docs/architecture.md with their owners and modes, down to server/. ERR when
 * USER could not enter what is his. */
int setup_state(const struct paths *paths, const struct config *config,
                const struct service_user *user, struct err *err);

/* What is below server/, made once we are that user. */
int setup_own_state(const struct paths *paths, struct err *err);

/* The lock of this state directory; ERR_CONFLICT names the process that has it. Returns a
 * descriptor that must stay open, and must be the only one ever opened: closing another one gives
 * the lock up. */
int setup_lock(const struct paths *paths, const struct service_user *user, struct err *err);

/* A listening socket, root:<group of USER> 0660. Returns its descriptor. */
int setup_socket(const struct paths *paths, const struct service_user *user, struct err *err);

/* Start the spawner; returns our end of its socket. Its environment has nothing of ours but
 * PATH. */
int setup_spawner(const struct paths *paths, const struct config *config, struct err *err);

#endif
