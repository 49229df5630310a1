/* What codex-git may reach of addresses that a repository names: by the policy of the gateways. */
#ifndef CODEX_PROGRAMS_REACH_H
#define CODEX_PROGRAMS_REACH_H

#include "base/repo_url.h"
#include "git/verbs.h"

/* A verb_reach_fn. A host is reached when all of its addresses may be. */
int reach_by_policy(const char *internet, const struct repo_url *url, char **pin, struct err *err);

#endif
