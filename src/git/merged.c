#include <stdlib.h>

#include "base/cleanup.h"
#include "git/repository.h"
#include "git/verbs.h"

static int merged_in(const char *git_dir, const struct verb_request *request, struct err *err)
{
    AUTO_FREE char *name = NULL;
    char base[OBJECT_ID_SIZE];
    struct repository_name commit = {.name = request->commit};
    int status = git_resolve_base(git_dir, request->base, &name, base, err);
    if (status == 0)
        status = repository_look_up(git_dir, &commit, 1, err);
    /* What the repository does not have, its base does not contain. */
    if (status < 0 || !*commit.sha)
        return status;
    return repository_contains(git_dir, base, commit.sha, err);
}

int git_merged(const struct verb_request *request, struct err *err)
{
    struct repository repository;
    int status = repository_open(request->repo, &repository, err);
    if (status == 0)
        status = merged_in(repository.git_dir, request, err);
    repository_release(&repository);
    return status;
}
