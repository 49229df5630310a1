/*
 * The pack index of a shared base bundle, made once it is there, while its first task prepares: the
 * import of each work on it then takes as long as the work is large, not as its base is.
 */
#ifndef CODEX_ORCHESTRATOR_BUNDLE_INDEX_H
#define CODEX_ORCHESTRATOR_BUNDLE_INDEX_H

#include "orchestrator/internal.h"

/* Make that of the shared bundle KEY, unless it is a small one. That it cannot be made is logged, and
 * does no harm. */
void bundle_index_make(struct orchestrator *o, const char *key);
void bundle_index_free_all(struct orchestrator *o);

/* The index of the shared bundle that TASK's base bundle is; -1: there is none. */
int bundle_index_open(const struct orchestrator *o, const struct task *task);

#endif
