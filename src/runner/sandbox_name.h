/* How the sandboxes and cgroups of a run are named, so that whoever cleans up finds them by that
 * alone. */
#ifndef CODEX_RUNNER_SANDBOX_NAME_H
#define CODEX_RUNNER_SANDBOX_NAME_H

#include "base/err.h"

enum { SANDBOX_NAME_SIZE = 96 };

/* "<state>-<run>-": what the sandboxes of run RUN of the server at STATE begin with. <state> tells
 * the state directories of one machine apart. */
int sandbox_name_prefix(char name[SANDBOX_NAME_SIZE], const char *state, const char *run,
                        struct err *err);

/* The prefix with ROLE behind it. */
int sandbox_name(char name[SANDBOX_NAME_SIZE], const char *state, const char *run, const char *role,
                 struct err *err);

#endif
