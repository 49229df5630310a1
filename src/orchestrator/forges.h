/* Which forge a repository is at: by [forge "host"] of codex.conf, else the plain one. */
#ifndef CODEX_ORCHESTRATOR_FORGES_H
#define CODEX_ORCHESTRATOR_FORGES_H

#include "forge/forge.h"
#include "orchestrator/orchestrator.h"

struct forges;

/* NULL on failure. O is what the plain forge asks. */
struct forges *forges_new(struct orchestrator *o, struct err *err);

/* Drops every question that is under way. NULL is fine. */
void forges_free(struct forges *forges);

/* Where the pull request of a task on REPO goes that is handed in with WANTED ("plain", "github";
 * NULL: as configured). NULL with ERR_USAGE or ERR_REFUSED when that cannot be. */
const struct forge *forges_choose(const struct forges *forges, const char *repo, const char *wanted,
                                  struct err *err);

/* The same of TASK, which was taken. NULL with ERR_REFUSED when codex.conf says otherwise by now. */
const struct forge *forges_of_task(const struct forges *forges, const struct task *task,
                                   struct err *err);

/* The one at CONFIG, which is one of the configuration's. */
const struct forge *forges_at(const struct forges *forges, const struct config_forge *config);

/* The one that opened TASK's pull request. */
const struct forge *forges_of_request(const struct forges *forges, const struct task *task);

#endif
