/* The messages of task/spawn.h, checked: nothing of them is used before. */
#ifndef CODEX_RUNNER_SPAWN_CHECK_H
#define CODEX_RUNNER_SPAWN_CHECK_H

#include <stddef.h>

#include "base/err.h"
#include "task/spawn.h"

/* 0 or ERR_PROTOCOL with what is wrong. */
int spawn_check_run(const struct spawn_run *run, struct err *err);
int spawn_check_name(const struct run_name *name, struct err *err);
int spawn_check_git(const struct spawn_git *git, size_t fds_count, struct err *err);

/* How many descriptors come with RUN. */
size_t spawn_run_fds(const struct spawn_run *run);

/* The descriptors, in their order: each a file of the kind and opened in the way that its use needs. */
int spawn_check_run_fds(const int *fds, size_t count, struct err *err);
int spawn_check_git_fds(const struct spawn_git *git, const int *fds, size_t count, struct err *err);

/* The descriptors of SPAWN_CHECK and SPAWN_GATEWAY. */
int spawn_check_check_fds(const int *fds, size_t count, struct err *err);
int spawn_check_gateway_fds(const int *fds, size_t count, struct err *err);

#endif
