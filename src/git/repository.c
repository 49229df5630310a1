#include "git/repository.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "git/command.h"
#include "git/large_files.h"
#include "git/ownership.h"

enum { ANSWER_MAX = 65536 };

void repository_release(struct repository *repository)
{
    free(repository->path);
    free(repository->git_dir);
    *repository = (struct repository){0};
}

static bool has(const char *dir, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    return snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path &&
           lstat(path, &st) == 0;
}

/* What git calls a repository, gitrepository-layout(5); git has the last word. */
static bool looks_like_repository(const char *dir)
{
    return has(dir, ".git") || (has(dir, "HEAD") && has(dir, "objects") && has(dir, "refs"));
}

/* The repository that PATH is in, as far as one can see from outside. */
static int find_top(const char *path, char top[PATH_MAX], struct err *err)
{
    if (!realpath(path, top)) {
        int status = err_errno(err, "cannot open '%s'", path);
        return status == -ENOENT || status == -ENOTDIR ? ERR_NOT_FOUND : status;
    }
    if (!str_is_one_line(top))
        return err_set(err, ERR_REFUSED, "the path has a control character in it");
    while (!looks_like_repository(top)) {
        char *slash = strrchr(top, '/');
        if (slash == top)
            return err_set(err, ERR_NOT_FOUND, "'%s' is not in a git repository", path);
        *slash = '\0';
    }
    return 0;
}

/* The answer to rev-parse: object format, shallow or not, git directory, a line each. */
static int read_facts(struct repository *repository, char *answer, struct err *err)
{
    char *format = strsep(&answer, "\n"), *shallow = strsep(&answer, "\n");
    size_t len = answer ? strlen(answer) : 0;
    if (len < 2 || answer[0] != '/' || answer[len - 1] != '\n')
        return err_set(err, ERR_REFUSED, "'%s': git says nothing that makes sense of it",
                       repository->path);
    answer[len - 1] = '\0';
    if (strcmp(format, "sha1") != 0)
        return err_set(err, ERR_REFUSED,
                       "'%s' uses %s object names; only sha1 repositories can be used",
                       repository->path, format);
    repository->shallow = !strcmp(shallow, "true");
    repository->git_dir = str_dup(answer);
    return 0;
}

/* What git is about to read at TOP. */
static int check_ownership(const char *top, struct err *err)
{
    int status = ownership_check(top, err);
    if (status < 0 || !has(top, ".git"))
        return status;
    AUTO_FREE char *dot_git = str_format("%s/.git", top);
    return ownership_check(dot_git, err);
}

/* A .git that is a link or a file leads elsewhere. */
static int check_git_dir(const struct repository *repository, struct err *err)
{
    AUTO_FREE char *real = realpath(repository->git_dir, NULL);
    return real ? ownership_check(real, err)
                : err_errno(err, "cannot open '%s'", repository->git_dir);
}

int repository_open(const char *path, struct repository *repository, struct err *err)
{
    char top[PATH_MAX];
    *repository = (struct repository){0};
    int status = find_top(path, top, err);
    if (status == 0)
        status = check_ownership(top, err);
    if (status < 0)
        return status;
    repository->path = str_dup(top);
    AUTO_FREE char *trust = str_format("safe.directory=%s", top);
    /* If this is none after all, git must not take one further up, which nobody named. */
    char *slash = strrchr(top, '/');
    AUTO_FREE char *ceiling = str_format("GIT_CEILING_DIRECTORIES=%.*s", (int)(slash - top), top);
    AUTO_BUF struct buf answer;
    buf_init(&answer, ANSWER_MAX);
    struct git_command git;
    git_command_init(&git, NULL, NULL);
    git_setting(&git, trust);
    git_args(&git, "rev-parse", "--show-object-format", "--is-shallow-repository",
             "--absolute-git-dir", NULL);
    git_env(&git, ceiling);
    git.dir = top;
    git.out = &answer;
    status = git_run(&git, err);
    if (status < 0)
        return status;
    if (status > 0) {
        err_context(err, "'%s' cannot be used", top);
        return ERR_REFUSED;
    }
    status = read_facts(repository, answer.data, err);
    return status < 0 ? status : check_git_dir(repository, err);
}

/* "<id> commit <size>" is a hit; anything else, with the name in it, is none. */
static int read_hits(struct repository_name *names, size_t count, char *answer, struct err *err)
{
    static const char commit[] = " commit ";
    for (size_t i = 0; i < count; i++) {
        char *line = strsep(&answer, "\n");
        if (!line || !answer)
            return err_set(err, ERR_PROTOCOL, "git cat-file: an answer is missing");
        memcpy(names[i].sha, line, strnlen(line, OBJECT_ID_LEN));
        names[i].sha[strnlen(line, OBJECT_ID_LEN)] = '\0';
        if (!object_id_valid(names[i].sha) || !str_starts_with(line + OBJECT_ID_LEN, commit))
            names[i].sha[0] = '\0';
    }
    return 0;
}

int repository_init(const char *git_dir, struct err *err)
{
    struct git_command git;
    git_command_init(&git, NULL, NULL);
    git_args(&git, "init", "--quiet", "--bare", "--template=", "--object-format=sha1", git_dir,
             NULL);
    return git_must(&git, err);
}

int repository_look_up(const char *git_dir, struct repository_name *names, size_t count,
                       struct err *err)
{
    AUTO_BUF struct buf questions, answer;
    buf_init(&questions, ANSWER_MAX);
    buf_init(&answer, ANSWER_MAX);
    for (size_t i = 0; i < count; i++)
        if (strchr(names[i].name, '\n') ||
            buf_appendf(&questions, "%s^{commit}\n", names[i].name) < 0)
            return err_set(err, ERR_USAGE, "a name that cannot be looked up");
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "cat-file", "--batch-check", NULL);
    git.input = questions.data;
    git.input_len = questions.len;
    git.out = &answer;
    int status = git_must(&git, err);
    return status < 0 ? status : read_hits(names, count, answer.data, err);
}

/* Whether one of the directories that REF would be in is a branch. */
static int check_parents(const char *git_dir, const char *ref, struct err *err)
{
    struct repository_name parents[REPOSITORY_NAMES_MAX];
    char *copies[REPOSITORY_NAMES_MAX];
    size_t count = 0;
    const char *p = ref + strlen(REPOSITORY_HEADS);
    while ((p = strchr(p, '/')) && count < REPOSITORY_NAMES_MAX) {
        copies[count] = str_format("%.*s", (int)(p++ - ref), ref);
        parents[count] = (struct repository_name){.name = copies[count]};
        count++;
    }
    int status = count ? repository_look_up(git_dir, parents, count, err) : 0;
    for (size_t i = 0; i < count; i++) {
        if (status == 0 && *parents[i].sha)
            status =
                err_set(err, ERR_REFUSED, "branch '%s' is in the way of '%s'",
                        parents[i].name + strlen(REPOSITORY_HEADS), ref + strlen(REPOSITORY_HEADS));
        free(copies[i]);
    }
    return status;
}

int repository_find_branch(const char *git_dir, const char *branch, char *sha, struct err *err)
{
    AUTO_FREE char *ref = str_format(REPOSITORY_HEADS "%s", branch);
    AUTO_BUF struct buf answer;
    buf_init(&answer, ANSWER_MAX);
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    /* Sorted by name: the branch itself comes before what is below it. */
    git_args(&git, "for-each-ref", "--count=1", "--format=%(objectname) %(refname)", ref, NULL);
    git.out = &answer;
    int status = git_must(&git, err);
    if (status < 0)
        return status;
    *sha = '\0';
    if (!answer.len)
        return check_parents(git_dir, ref, err);
    answer.data[strcspn(answer.data, "\n")] = '\0';
    if (answer.len <= OBJECT_ID_LEN)
        return err_set(err, ERR_PROTOCOL, "git for-each-ref: an answer that makes no sense");
    const char *found = answer.data + OBJECT_ID_LEN + 1;
    if (strcmp(found, ref) != 0)
        return err_set(err, ERR_REFUSED, "branch '%s' is in the way of '%s'",
                       found + strlen(REPOSITORY_HEADS), branch);
    memcpy(sha, answer.data, OBJECT_ID_LEN);
    sha[OBJECT_ID_LEN] = '\0';
    return 0;
}

int repository_contains(const char *git_dir, const char *base, const char *commit, struct err *err)
{
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "merge-base", "--is-ancestor", commit, base, NULL);
    int code = git_run(&git, err);
    return code < 0 ? code : code == 0 ? 1 : code == 1 ? 0 : -EIO;
}

int repository_check_complete(const char *git_dir, const char *commit, const char *base,
                              struct err *err)
{
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "rev-list", "--objects", "--quiet", commit, "--not", base, NULL);
    return git_must(&git, err);
}

char *repository_large_files(const char *git_dir, struct err *err)
{
    AUTO_BUF struct buf common;
    buf_init(&common, 8192);
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "rev-parse", "--path-format=absolute", "--git-common-dir", NULL);
    git.out = &common;
    if (git_must(&git, err) < 0)
        return NULL;
    return str_format("%.*s/" LARGE_FILES_DIRECTORY, (int)strcspn(common.data, "\n"), common.data);
}
