/*
 * Cgroups of a sandbox. crun makes them, at the same path in every hierarchy; here they are read,
 * killed and removed by that path, whether the host has v1, v2, or v1 beside an empty v2
 * ("hybrid").
 */
#ifndef CODEX_SANDBOX_CGROUP_H
#define CODEX_SANDBOX_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { CGROUP_HIERARCHIES_MAX = 24, CGROUP_PATH_SIZE = 128 };

/* The hierarchies of this host, from its mounts. */
struct cgroup_host {
    unsigned count;
    char mounts[CGROUP_HIERARCHIES_MAX][CGROUP_PATH_SIZE];
    int memory, pids, cpu, cpuset; /* indices into mounts, -1: none */
    int unified;                   /* the v2 tree, with or without controllers, -1: none */
    bool v1_memory, v1_pids, v1_cpu, v1_cpuset;
};

/* As if there were no hierarchy at all: groups of that host are not there, and empty. */
void cgroup_host_none(struct cgroup_host *host);

int cgroup_host_read(struct cgroup_host *host, struct err *err);

/* Why sandboxes cannot run with these cgroups, as an error that says what to do; 0: they can. */
int cgroup_host_check(const struct cgroup_host *host, struct err *err);

/* Which limits hold here. Each is set in a group that is made for that and goes again, and read
 * back: a controller may be there and still not take any. Needs root. */
struct cgroup_limits {
    bool memory, swap, pids, cpu, cpuset;
};
void cgroup_host_try(const struct cgroup_host *host, struct cgroup_limits *out);

/* cgroup v1 counts what waits in sockets only when told to: until then one sandbox can fill all of the
 * machine's memory for TCP. (crun takes that from its configuration, runc leaves it out without a
 * word.) Elsewhere there is nothing to do. */
int cgroup_limit_tcp(const struct cgroup_host *host, const char *group, uint64_t bytes,
                     struct err *err);

struct cgroup_counts {
    uint64_t oom_kills;   /* processes that the kernel killed for lack of memory */
    uint64_t pids_denied; /* forks that the limit refused */
};

/* GROUP is the path below each hierarchy, such as "codex/3f2a-task-abc123-1-work". What cannot be
 * read counts 0. */
void cgroup_read_counts(const struct cgroup_host *host, const char *group,
                        struct cgroup_counts *counts);

/* Kill every process in GROUP and its children, until none is left or DEADLINE_MS (of
 * clock_mono_ms) passes. */
int cgroup_kill(const struct cgroup_host *host, const char *group, int64_t deadline_ms,
                struct err *err);

/* Remove GROUP and its children from every hierarchy; busy ones are tried again until the
 * deadline. */
int cgroup_remove(const struct cgroup_host *host, const char *group, int64_t deadline_ms,
                  struct err *err);

/* Call FN with the name of every group right below PARENT whose name starts with PREFIX, each
 * once. */
void cgroup_each(const struct cgroup_host *host, const char *parent, const char *prefix,
                 void (*fn)(void *arg, const char *name), void *arg);

#endif
