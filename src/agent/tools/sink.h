/*
 * Where the output of processes in the background goes once their command has been answered: it is
 * read and dropped. Closing the pipe instead would end a server at its next log line.
 */
#ifndef CODEX_AGENT_TOOLS_SINK_H
#define CODEX_AGENT_TOOLS_SINK_H

#include <sys/types.h>

#include "loop/loop.h"

enum { SINKS_MAX = 256 }; /* then the oldest is closed */

struct sinks {
    struct loop *loop;
    struct sink *first; /* newest first */
    size_t count;
};

/* Read FD (owned from here on) to its end. GROUP is the process group that writes to it. */
void sinks_add(struct sinks *sinks, int fd, pid_t group);

/* Signal every process group that may still write. */
void sinks_signal(const struct sinks *sinks, int signal);

void sinks_release(struct sinks *sinks); /* close them all */

#endif
