/*
 * Where things are, for every program alike:
 *
 *     configuration   $CODEX_CONFIG, else codex.conf in $XDG_CONFIG_HOME/codex (users:
 *                     ~/.config/codex when that is not set), else /etc/codex/codex.conf
 *     state           $CODEX_STATE_DIR, else /var/lib/codex as root, $XDG_STATE_HOME/codex
 *                     (~/.local/state/codex) as a user
 *     socket          $CODEX_SOCKET, else `socket` of the configuration's [server], else
 *                     codexd.sock in the state directory; for a user who names none of the
 *                     three and has no server of their own, that of root's state directory
 *
 * Names from the environment must be absolute, so that every program finds the same file.
 */
#ifndef CODEX_CONFIG_PATHS_H
#define CODEX_CONFIG_PATHS_H

#include "base/err.h"
#include "config/config.h"

/* Of the server that root runs for everybody. */
#define PATHS_MACHINE_STATE "/var/lib/codex"

struct paths {
    char *config; /* NULL: there is no configuration file, the defaults hold */
    char *state;
    char *socket;
};

/* CONFIG_FILE is from the command line, or NULL. The configuration is loaded into CONFIG
 * (config_init'ed here), because it may say where the socket is. On failure neither needs
 * releasing. */
int paths_find(struct paths *paths, struct config *config, const char *config_file,
               struct err *err);
void paths_release(struct paths *paths);

#endif
