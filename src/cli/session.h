/* What a verb that talks to codexd needs: where things are, the configuration, the connection. */
#ifndef CODEX_CLI_SESSION_H
#define CODEX_CLI_SESSION_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "cli/api.h"
#include "config/paths.h"

struct session {
    struct paths paths;
    struct config config;
    struct api api;
};

/* Nothing is asked of the server yet. */
int session_open(struct session *session, struct err *err);
/* The same for a verb about the task ID, which is checked first. */
int session_open_task(struct session *session, const char *id, struct err *err);
void session_close(struct session *session);

/* POST /v1/tasks/ID/ACTION, with a session of its own; *TASK is the task then, which the caller
 * releases. */
int session_act(const char *id, const char *action, json_t **task, struct err *err);

/* Is there a place where a server is expected: $CODEX_SOCKET, or `socket` in [server]? */
bool session_is_configured(const struct session *session);

/*
 * Make sure that codexd answers, for a verb that hands in work: when none does and none is
 * configured (neither $CODEX_SOCKET nor `socket` in [server]), start a private one, which stays.
 */
int session_ensure_server(struct session *session, struct err *err);

/* The process that serves this state directory, by the lock that it holds; 0 when there is none. */
pid_t session_server_pid(const struct session *session);

/* One of our other programs: beside this one, else where `make install` puts it. NULL when it is in
 * neither; the caller frees. */
char *program_path(const char *name);

#endif
