/* The checks of `codex doctor`. Private to doctor*.c. */
#ifndef CODEX_CLI_DOCTOR_H
#define CODEX_CLI_DOCTOR_H

#include <stdbool.h>

#include <jansson.h>

#include "cli/session.h"

/* What a check found out. */
enum finding {
    FOUND_OK,
    FOUND_WARNING, /* works, but somebody may wonder */
    FOUND_UNKNOWN, /* cannot be told from here: not root, the configuration does not parse */
    FOUND_TROUBLE, /* without it there are no tasks */
};

/*
 * Append {"check", "status", "detail", "remedy"} to LIST: the shape of the server's own findings
 * (GET /v1/doctor). REMEDY is NULL when there is nothing to do.
 */
void check_add(json_t *list, const char *check, enum finding finding, const char *remedy,
               const char *detail, ...) __attribute__((format(printf, 5, 6)));

/* The first line that ARGV prints, which the caller frees; NULL when it fails. */
char *program_says(const char *const *argv);

/* The first program NAME on PATH at or behind *POSITION (begin with the value of PATH), which is
 * moved behind it; NULL when there is no further one. The caller frees. */
char *path_next(const char **position, const char *name);

/* Kernel, git. */
void doctor_kernel(json_t *list);
void doctor_git(json_t *list);
void doctor_runtime(json_t *list, const char *runtime);

/* What codex-runner --check finds, called by root; and what can be guessed without root when no
 * server answers either. */
void doctor_machine(json_t *list, const struct session *session);
void doctor_guesses(json_t *list, const char *runtime);

/* This installation: state directory, users and groups, PATH. */
/* Nothing is added when the server is another's. */
void doctor_state(json_t *list, const struct session *session);
void doctor_users(json_t *list, const struct session *session);

/* Whether the server is somebody else's: an ordinary user who has none of his own. */
bool doctor_is_guest(const struct session *session);
void doctor_path(json_t *list);
void doctor_toolchains(json_t *list);

#endif
