/* What a task's repository is, a local path or a remote address, and how codex-git is asked about
 * it. */
#ifndef CODEX_ORCHESTRATOR_REPO_H
#define CODEX_ORCHESTRATOR_REPO_H

#include <stdbool.h>

#include "orchestrator/git.h"
#include "orchestrator/orchestrator.h"

bool repo_is_remote(const char *repo);

/* Whether tasks may work on the remote repository REPO: the address is one, and [forge] has what it
 * takes. *TEXT becomes the one form of the address; the caller frees it. */
int repo_check(const struct orchestrator *o, const char *repo, char **text, struct err *err);

/* The same for the submodule URL of REPO, both addresses in their one form. *STRANGER: it is on another
 * host, or (set before) a stranger names it, so that no login goes there, and only what tasks may
 * reach is reached. The sentence of a
 * failure does not name URL. */
int repo_check_module(const struct orchestrator *o, const char *repo, const char *url, char **text,
                      bool *stranger, struct err *err);

/* The token of FORGE, for secret_free(); NULL when it names none. */
int repo_token(const struct orchestrator *o, const struct config_forge *forge, char **token,
               struct err *err);

/* A request to codex-git, and what it borrows. */
struct repo_request {
    struct git_request git;
    size_t args_count;
    int access_fd, mirror_fd;
    char timeout[24], stall[24];
};

/* Begin a request: VERB and its options that take REPO, for UID, who submitted the task. Add more
 * by repo_request_add() and repo_request_fd(). Close it also after a failure. */
int repo_request_open(struct repo_request *request, const struct orchestrator *o, const char *verb,
                      const char *repo, uint32_t uid, int64_t timeout_ms, struct err *err);
/* The same for a submodule. What was fetched with a login and what was without have mirrors of their
 * own: a mirror is not asked again who may see a commit that it has. */
int repo_request_open_module(struct repo_request *request, const struct orchestrator *o,
                             const char *verb, const char *url, bool stranger, int64_t timeout_ms,
                             struct err *err);
void repo_request_add(struct repo_request *request, const char *option, const char *value);
void repo_request_fd(struct repo_request *request, int fd, uint8_t number);
void repo_request_close(struct repo_request *request);

#endif
