/*
 * The variables that tell programs in a sandbox how much they may do at once. The runner sets them
 * where a sandbox has a limit of cores; codex-agent passes them on to the task's commands. What asks
 * for the cores that it may run on (nproc, ninja, Go, Java, Node.js) finds out by itself.
 *
 * Not among them: MAKEFLAGS, which would build in parallel what was never tried so, and
 * CTEST_PARALLEL_LEVEL, which would do that to tests.
 */
#ifndef CODEX_BASE_JOB_ENV_H
#define CODEX_BASE_JOB_ENV_H

/* Names, ending with NULL. */
extern const char *const job_env[];

#endif
