/* Ending what a dead runner has left: processes, cgroups, files. */
#ifndef CODEX_RUNNER_CLEAN_H
#define CODEX_RUNNER_CLEAN_H

#include "base/err.h"
#include "sandbox/cgroup.h"

struct clean {
    const char *state;
    struct cgroup_host cgroups;
};

int clean_open(struct clean *clean, const char *state, struct err *err);

/* Clean up after run NAME, unless somebody holds its lock (then 0 too: it is his). The workspace
 * stays when it is still needed. What cannot be removed now is an error, and found again the next
 * time. */
int clean_run(const struct clean *clean, const char *name, struct err *err);

/* The same of a run that nobody goes on with: its workspace goes too, unless its runner has decided
 * that it stays. Does nothing where nothing is left. */
int clean_forgotten_run(const struct clean *clean, const char *name, struct err *err);

/* Every name below runs/ and sandboxes/: FN is told each once or twice. */
void clean_each(const struct clean *clean, void (*fn)(void *arg, const char *name), void *arg);

#endif
