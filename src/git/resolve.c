#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "git/command.h"
#include "git/repository.h"
#include "git/verbs.h"

enum {
    BASE_MAX = 255, /* bytes of a base as a person writes it */
    ANSWER_MAX = 65536
};

/* The full name of the ref that HEAD is; "" when it is a commit (detached). The caller frees it. */
static int read_head(const char *git_dir, char **ref, struct err *err)
{
    AUTO_BUF struct buf answer;
    buf_init(&answer, ANSWER_MAX);
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "symbolic-ref", "--quiet", "HEAD", NULL);
    git.out = &answer;
    int code = git_run(&git, err);
    if (code < 0 || code > 1)
        return err_context(err, "cannot read HEAD");
    *ref = buf_steal(&answer, NULL);
    (*ref)[strcspn(*ref, "\n")] = '\0';
    return 0;
}

/* The name that a ref goes by: a branch by its short one. */
static char *public_name(const char *ref)
{
    return str_dup(str_starts_with(ref, REPOSITORY_HEADS) ? ref + strlen(REPOSITORY_HEADS) : ref);
}

static int resolve_head(const char *git_dir, char **name, char *sha, struct err *err)
{
    AUTO_FREE char *ref = NULL;
    int status = read_head(git_dir, &ref, err);
    if (status < 0)
        return status;
    struct repository_name head = {.name = *ref ? ref : "HEAD"};
    status = repository_look_up(git_dir, &head, 1, err);
    if (status < 0)
        return status;
    if (!*head.sha)
        return err_set(err, ERR_REFUSED, "there is no commit on '%s' yet: make one first",
                       str_starts_with(ref, REPOSITORY_HEADS) ? ref + strlen(REPOSITORY_HEADS)
                                                              : "HEAD");
    memcpy(sha, head.sha, OBJECT_ID_SIZE);
    *name = *ref ? public_name(ref) : str_dup(head.sha);
    return 0;
}

/* Whether BASE may be handed to git's lookup: ":" would name paths and searches, not commits. */
static bool base_sane(const char *base)
{
    size_t len = strlen(base);
    if (len == 0 || len > BASE_MAX || base[0] == '-' || strchr(base, ':') || strstr(base, "^{/"))
        return false;
    return str_is_one_line(base);
}

int git_resolve_base(const char *git_dir, const char *base, char **name, char *sha, struct err *err)
{
    static const char *const prefixes[] = {REPOSITORY_HEADS, "refs/tags/", "refs/remotes/", "refs/",
                                           ""};
    enum { PREFIXES = sizeof prefixes / sizeof prefixes[0] };
    if (!base || !strcmp(base, "HEAD") || !strcmp(base, "@"))
        return resolve_head(git_dir, name, sha, err);
    if (!base_sane(base))
        return err_set(err, ERR_USAGE, "not a usable base: a branch, a tag or a commit is");
    struct repository_name names[PREFIXES];
    char full[PREFIXES][BASE_MAX + 16];
    for (size_t i = 0; i < PREFIXES; i++) {
        snprintf(full[i], sizeof full[i], "%s%s", prefixes[i], base);
        names[i] = (struct repository_name){.name = full[i]};
    }
    int status = repository_look_up(git_dir, names, PREFIXES, err);
    if (status < 0)
        return status;
    for (size_t i = 0; i < PREFIXES; i++) {
        if (!*names[i].sha)
            continue;
        memcpy(sha, names[i].sha, OBJECT_ID_SIZE);
        bool is_ref = *prefixes[i] || str_starts_with(base, "refs/");
        *name = is_ref ? public_name(full[i]) : str_dup(sha);
        return 0;
    }
    return err_set(err, ERR_NOT_FOUND, "there is no branch, tag or commit '%s'", base);
}

/* A partial clone would have to fetch what it lacks, by commands that its configuration names. */
static int refuse_partial_clone(const char *git_dir, struct err *err)
{
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "config", "--get-regexp", "^(extensions\\.partialclone|remote\\..*\\.promisor)$",
             NULL);
    int code = git_run(&git, err);
    if (code == 0)
        return err_set(err, ERR_REFUSED,
                       "a partial clone cannot be used: make a full one, or run "
                       "'git fetch --refetch --no-filter' and unset its promisor");
    return code == 1 ? 0 : code < 0 ? code : -EIO;
}

static int print_branch(const char *git_dir, const char *branch, struct buf *out, struct err *err)
{
    char sha[OBJECT_ID_SIZE];
    int status = repository_find_branch(git_dir, branch, sha, err);
    if (status == 0)
        buf_appendf(out, "branch_exists %s\n", *sha ? "yes" : "no");
    return status;
}

static int resolve_in(const struct repository *repository, const struct verb_request *request,
                      struct err *err)
{
    AUTO_FREE char *name = NULL;
    char sha[OBJECT_ID_SIZE];
    int status = git_resolve_base(repository->git_dir, request->base, &name, sha, err);
    if (status == 0)
        status = refuse_partial_clone(repository->git_dir, err);
    if (status < 0)
        return status;
    AUTO_BUF struct buf out;
    buf_init(&out, ANSWER_MAX);
    buf_appendf(&out, "path %s\nbase %s\ncommit %s\n", repository->path, name, sha);
    if (request->branch)
        status = print_branch(repository->git_dir, request->branch, &out, err);
    return status < 0 ? status : io_write_all(STDOUT_FILENO, out.data, out.len, err);
}

int git_resolve(const struct verb_request *request, struct err *err)
{
    struct repository repository;
    int status = repository_open(request->repo ? request->repo : ".", &repository, err);
    if (status == 0)
        status = resolve_in(&repository, request, err);
    repository_release(&repository);
    return status;
}
