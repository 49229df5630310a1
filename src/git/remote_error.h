/* What a remote's refusal means, out of what git and ssh say about it. */
#ifndef CODEX_GIT_REMOTE_ERROR_H
#define CODEX_GIT_REMOTE_ERROR_H

#include "base/err.h"
#include "base/repo_url.h"
#include "git/access.h"

/*
 * STATUS as git_run() returned it, with ERR as it left it; SAID: the command's standard error. 0, or
 * a code of git/remote.h with its one line in ERR. Also an answer of 0 is refused when it came from
 * another host.
 */
int remote_explain(const struct repo_url *url, const struct git_access *access, int status,
                   const char *said, struct err *err);

#endif
