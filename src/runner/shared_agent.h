/*
 * codex-agent for all runners of a spawner: on a tmpfs in its own mount namespace, which runners
 * inherit. So its pages are there once, and no mount table in a sandbox names a path of the host.
 * When the program on disk changes, later runners get the new one; a version stays until its last
 * runner has ended.
 */
#ifndef CODEX_RUNNER_SHARED_AGENT_H
#define CODEX_RUNNER_SHARED_AGENT_H

#include <limits.h>
#include <sys/stat.h>

#include "base/err.h"

enum { SHARED_AGENT_VERSIONS_MAX = 8 };

struct shared_agent {
    const char *source; /* on disk */
    struct stat st;     /* of the source when it was copied */
    unsigned current;   /* number of the newest version; 0: none yet */
    struct {
        unsigned number, users; /* number 0: free */
    } versions[SHARED_AGENT_VERSIONS_MAX];
};

/* Gives this process a mount namespace of its own. SOURCE must outlive AGENT. */
int shared_agent_open(struct shared_agent *agent, const char *source, struct err *err);

/* The path of the newest version, for one more user, in PATH. Returns its number, or negative. */
int shared_agent_take(struct shared_agent *agent, char path[PATH_MAX], struct err *err);

/* A user of version NUMBER has ended. */
void shared_agent_give_back(struct shared_agent *agent, unsigned number);

#endif
