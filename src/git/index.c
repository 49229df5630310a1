/*
 * `codex-git index`: the pack index of a base bundle, so that the import of each task's work need not
 * make it. It is its own process, which sees that bundle alone, because every later task trusts it.
 */
#include "git/bundle.h"
#include "git/repository.h"
#include "git/verbs.h"

enum { INDEX_FD_BUNDLE = 3, INDEX_FD_INDEX = 4, INDEX_TIMEOUT_MS = 1800000 };

static const char scratch_repository[] = "index.git";

int git_index(const struct verb_request *request, struct err *err)
{
    const struct bundle_options options = {.timeout_ms = INDEX_TIMEOUT_MS};
    struct bundle bundle;
    int status = bundle_read(INDEX_FD_BUNDLE, BUNDLE_REF_BASE, &bundle, err);
    if (status == 0)
        status = repository_init(scratch_repository, err);
    if (status == 0)
        status = bundle_index(&bundle, INDEX_FD_BUNDLE, INDEX_FD_INDEX, scratch_repository,
                              &options, err);
    bundle_release(&bundle);
    return status;
}
