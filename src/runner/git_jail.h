/* codex-git, with as little around it as it needs. */
#ifndef CODEX_RUNNER_GIT_JAIL_H
#define CODEX_RUNNER_GIT_JAIL_H

#include <sys/types.h>

#include "base/err.h"
#include "task/spawn.h"

/*
 * Start PROGRAM (codex-git) as GIT says, with its descriptors FDS. It is process 1 of a pid
 * namespace, so that killing it ends all that it started.
 *
 * SPAWN_GIT_ISOLATED: uid 65534; an empty network namespace; of the host's files it sees only /usr,
 * read-only; its working directory is SCRATCH (a directory below the state directory, made here and
 * owned by it; the caller removes it). SPAWN_GIT_REMOTE: the same for the user that is named, with the
 * host's network, what names and certificates are looked up with, and its mirror, the one place that
 * it leaves anything in. SPAWN_GIT_AS_SUBMITTER: the user's uid and groups on the
 * host's files; root's repositories are handled by their owner. Nobody keeps a capability.
 *
 * Returns the pid.
 */
pid_t git_jail_start(const struct spawn_git *git, const int *fds, const char *program,
                     const char *scratch, struct err *err);

#endif
