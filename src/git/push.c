#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "git/bundle.h"
#include "git/command.h"
#include "git/large_files.h"
#include "git/repository.h"
#include "git/verbs.h"

enum { PUSH_FD_BUNDLE = 3, PUSH_TIMEOUT_MS = 600000 };

/* 1: the branch is there already, with this commit, or with what somebody has put on top of it;
 * 0: it can be created. */
static int look_at_branch(const char *git_dir, const struct verb_request *request, struct err *err)
{
    char sha[OBJECT_ID_SIZE];
    struct repository_name commit = {.name = request->commit};
    int status = repository_find_branch(git_dir, request->branch, sha, err);
    if (status < 0 || !*sha)
        return status;
    if (!strcmp(sha, request->commit))
        return 1;
    status = repository_look_up(git_dir, &commit, 1, err);
    if (status == 0 && *commit.sha)
        status = repository_contains(git_dir, sha, commit.sha, err);
    if (status != 0)
        return status;
    return err_set(err, ERR_CONFLICT, "branch '%s' exists and is another commit", request->branch);
}

/* The bundle's objects into the repository: nothing refers to them yet. */
static int take_objects(const char *git_dir, const struct bundle *bundle, struct err *err)
{
    struct repository_name base = {.name = bundle->base};
    int status = repository_look_up(git_dir, &base, 1, err);
    if (status < 0)
        return status;
    if (!*base.sha)
        return err_set(err, ERR_REFUSED, "the repository no longer has the base commit %s",
                       bundle->base);
    const struct bundle_options options = {
        .strict = true, .durable = true, .timeout_ms = PUSH_TIMEOUT_MS};
    status = bundle_unpack(bundle, PUSH_FD_BUNDLE, git_dir, &options, err);
    return status < 0 ? status
                      : repository_check_complete(git_dir, bundle->commit, bundle->base, err);
}

static int take_large_files(const char *git_dir, struct err *err)
{
    struct large_files files = {0};
    int status = large_files_list(PUSH_FD_BUNDLE, &files, err);
    bool any = files.count > 0;
    large_files_release(&files);
    if (status < 0 || !any)
        return status;
    AUTO_FREE char *store = repository_large_files(git_dir, err);
    return store ? large_files_take(PUSH_FD_BUNDLE, store, true, err) : err->code;
}

/* A git that was killed has left its lock, or one holds it for longer than ours waits (git-config(1),
 * core.filesRefLockTimeout): then the work goes by another name. */
static int tell_lock(const char *git_dir, const char *branch, const struct err *why,
                     struct err *err)
{
    AUTO_FREE char *lock = str_format("%s/" REPOSITORY_HEADS "%s.lock", git_dir, branch);
    if (access(lock, F_OK) == 0)
        return err_set(err, ERR_CONFLICT, "branch '%s' is locked: '%s' is there", branch, lock);
    *err = *why;
    return err->code;
}

/* Only if it does not exist: git checks that under its lock. */
static int create_branch(const char *git_dir, const struct verb_request *request, struct err *err)
{
    static const char nothing[] = "0000000000000000000000000000000000000000";
    AUTO_FREE char *ref = str_format(REPOSITORY_HEADS "%s", request->branch);
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "update-ref", "-m", "codex: task", "--no-deref", ref, request->commit, nothing,
             NULL);
    /* For the reflog. */
    git_env(&git, "GIT_COMMITTER_NAME=Codex");
    git_env(&git, "GIT_COMMITTER_EMAIL=codex@localhost");
    int status = git_must(&git, err);
    if (status == 0)
        return 0;
    struct err why = *err;
    int there = look_at_branch(git_dir, request, err);
    if (there == 0)
        return tell_lock(git_dir, request->branch, &why, err);
    return there > 0 ? 0 : there;
}

static int push_to(const char *git_dir, const struct verb_request *request, struct err *err)
{
    int status = look_at_branch(git_dir, request, err);
    if (status != 0)
        return status > 0 ? 0 : status;
    struct bundle bundle;
    status = bundle_read(PUSH_FD_BUNDLE, BUNDLE_REF_WORK, &bundle, err);
    if (status == 0 && (strcmp(bundle.commit, request->commit) != 0 || !*bundle.base))
        status =
            err_set(err, ERR_PROTOCOL, "the bundle holds something else than %s", request->commit);
    if (status == 0)
        status = take_objects(git_dir, &bundle, err);
    if (status == 0)
        status = take_large_files(git_dir, err);
    bundle_release(&bundle);
    return status < 0 ? status : create_branch(git_dir, request, err);
}

int git_push(const struct verb_request *request, struct err *err)
{
    struct repository repository;
    int status = repository_open(request->repo, &repository, err);
    if (status == 0)
        status = push_to(repository.git_dir, request, err);
    repository_release(&repository);
    return status;
}
