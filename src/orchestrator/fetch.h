/*
 * Base bundles on their way from their repositories: one fetch for all tasks that wait for the same
 * commit. Remote repositories are fetched from one after the other each, and so many at once: one
 * that hangs is ended and tried again by itself, and keeps no other waiting for long.
 */
#ifndef CODEX_ORCHESTRATOR_FETCH_H
#define CODEX_ORCHESTRATOR_FETCH_H

#include "orchestrator/internal.h"

/* JOB waits for the bundle KEY of COMMIT of its task's repository, to have it as its file NAME (a constant);
 * it goes on when that is there or cannot be had, which job->fetch_fault tells then. Submodules come
 * along as far as they may; one that cannot be had is left out. */
void fetch_join(struct job *job, const struct task *task, const char *commit, const char *key,
                const char *name);

/* JOB no longer wants it; nobody waiting, the fetch ends. */
void fetch_leave(struct job *job);

/* Whether JOB waits for a remote repository, so that others may run in its place. */
bool fetch_is_remote(const struct job *job);

void fetch_free_all(struct orchestrator *o);

#endif
