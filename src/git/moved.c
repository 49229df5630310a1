#include "git/moved.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/object_id.h"
#include "base/str.h"
#include "git/bundle.h"
#include "git/command.h"
#include "git/repository.h"

enum { MOVED_FD_BUNDLE = 3, MOVED_TIMEOUT_MS = 60000 };

static int count_commits(const char *git_dir, const char *tip, const struct verb_request *request,
                         int64_t *count, struct err *err)
{
    struct repository_name commit = {.name = request->commit};
    AUTO_BUF struct buf answer;
    buf_init(&answer, 64);
    int status = request->commit ? repository_look_up(git_dir, &commit, 1, err) : 0;
    if (status < 0)
        return status;
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "rev-list", "--count", tip, "--not", request->base_commit, NULL);
    if (*commit.sha)
        git_args(&git, commit.sha, NULL);
    git.out = &answer;
    git.timeout_ms = MOVED_TIMEOUT_MS;
    status = git_must(&git, err);
    if (status < 0)
        return status;
    answer.data[strcspn(answer.data, "\n")] = '\0';
    return str_parse_int(answer.data, 0, INT64_MAX, count) < 0
               ? err_set(err, ERR_PROTOCOL, "git rev-list: '%s' is no number", answer.data)
               : 0;
}

int moved_write(const char *git_dir, const char *tip, const struct verb_request *request,
                int bundle_fd, struct err *err)
{
    int64_t behind = 0;
    struct bundle bundle = {0};
    memcpy(bundle.commit, tip, OBJECT_ID_SIZE);
    memcpy(bundle.base, request->base_commit, OBJECT_ID_SIZE);
    int status = count_commits(git_dir, tip, request, &behind, err);
    if (status == 0 && behind)
        status = bundle_write(&bundle, BUNDLE_REF_MOVED, git_dir, bundle_fd, MOVED_TIMEOUT_MS, err);
    if (status == 0 && printf("commit %s\nbehind %" PRId64 "\n", tip, behind) < 0)
        status = err_errno(err, "cannot write");
    return status;
}

static int look(const char *git_dir, const struct verb_request *request, struct err *err)
{
    AUTO_FREE char *ref = str_format(REPOSITORY_HEADS "%s", request->base);
    struct repository_name names[] = {{.name = ref}, {.name = request->base_commit}};
    int status = repository_look_up(git_dir, names, 2, err);
    if (status < 0)
        return status;
    for (size_t i = 0; i < 2; i++)
        if (!*names[i].sha)
            return err_set(err, ERR_NOT_FOUND, "the repository no longer has '%s'", names[i].name);
    return moved_write(git_dir, names[0].sha, request, MOVED_FD_BUNDLE, err);
}

int git_moved(const struct verb_request *request, struct err *err)
{
    struct repository repository;
    int status = repository_open(request->repo, &repository, err);
    if (status == 0)
        status = look(repository.git_dir, request, err);
    repository_release(&repository);
    return status;
}
