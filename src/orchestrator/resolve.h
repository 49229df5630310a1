/* `codex-git resolve`: where a task on a repository would start, and whether it may be worked on. */
#ifndef CODEX_ORCHESTRATOR_RESOLVE_H
#define CODEX_ORCHESTRATOR_RESOLVE_H

#include "orchestrator/git.h"
#include "orchestrator/orchestrator.h"

/* Ask about REPO as UID; BASE and BRANCH may be NULL. NULL when it cannot be started. */
struct git_job *resolve_start(struct orchestrator *o, const char *repo, uint32_t uid,
                              const char *base, const char *branch, git_done_fn *done, void *arg,
                              struct err *err);

struct resolved {
    char *path; /* NULL: it did not tell */
    char *base, *commit;
    bool branch_exists;
};
void resolved_release(struct resolved *resolved);

/* What it answered; or why it refused, with a code that says whose fault that is. Release OUT
 * also after a failure. */
int resolve_read(const struct git_result *result, struct resolved *out, struct err *err);

#endif
