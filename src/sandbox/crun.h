/* Running crun: by argv, with a deadline, its complaint as the error. */
#ifndef CODEX_SANDBOX_CRUN_H
#define CODEX_SANDBOX_CRUN_H

#include <sys/types.h>

#include "base/err.h"
#include "base/process.h"

struct crun {
    const char *program;
    char directory[256]; /* private: crun's state, its log and its temporary files are in it */
};

/* Run `crun COMMAND` with the arguments ARGS (NULL at the end) and the descriptors FDS, and wait
 * for it. Its exit status other than 0 is an error with crun's last line; so is one that takes
 * longer than a minute: it is killed. ERR_KILLED when somebody else did that, to it or to a
 * process that it has left to us; the caller is a subreaper. */
int crun_run(const struct crun *crun, const char *command, const char *const *args,
             const struct process_fd *fds, size_t fds_count, struct err *err);

#endif
