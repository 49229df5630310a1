#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/refname.h"
#include "base/str.h"
#include "git/remote.h"
#include "git/repository.h"
#include "git/verbs.h"

/* Only what was asked for comes back, unless the names are chosen to be alike. */
enum { LIST_MAX = 1 << 20, NAMES_MAX = 48, NAME_MAX_BYTES = REFNAME_MAX_BYTES + 32 };

#define TAGS "refs/tags/"

/* The refs that are asked for, as patterns of git-ls-remote(1). */
struct question {
    char names[NAMES_MAX][NAME_MAX_BYTES];
    size_t count;
};

static void ask(struct question *question, const char *prefix, const char *name, const char *suffix)
{
    if (question->count < NAMES_MAX)
        snprintf(question->names[question->count++], NAME_MAX_BYTES, "%s%s%s", prefix, name,
                 suffix);
}

/* The base: a branch, a tag, another ref. */
static void ask_base(struct question *question, const char *base)
{
    static const char *const prefixes[] = {REPOSITORY_HEADS, TAGS, "refs/", ""};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        ask(question, prefixes[i], base, "");
        ask(question, prefixes[i], base, "^{}"); /* what an annotated tag names */
    }
}

/* The branch to be made, and what would be in its way: git keeps refs as files. */
static void ask_branch(struct question *question, const char *branch)
{
    char parent[REFNAME_MAX_BYTES + 1];
    snprintf(parent, sizeof parent, "%s", branch);
    ask(question, REPOSITORY_HEADS, branch, "");
    ask(question, REPOSITORY_HEADS, branch, "/*");
    for (char *slash; (slash = strrchr(parent, '/'));) {
        *slash = '\0';
        ask(question, REPOSITORY_HEADS, parent, "");
    }
}

static int list(struct remote *remote, const struct question *question, struct buf *answer,
                struct err *err)
{
    struct git_command git;
    remote_command(remote, &git, NULL);
    git_args(&git, "ls-remote", "--symref", "--quiet", remote->url.text, "HEAD", NULL);
    for (size_t i = 0; i < question->count && git.argc < GIT_ARGS_MAX; i++)
        git_args(&git, question->names[i], NULL);
    git.out = answer;
    git.dir = "/";    /* a repository that we happen to stand in is no matter */
    git.stall_ms = 0; /* it may list for long before anything fits; the deadline holds */
    return remote_run(remote, &git, err);
}

/* The id of the ref NAME in ANSWER, lines of "<id>\t<name>"; false when it is not there. */
static bool find(const char *answer, const char *name, char sha[OBJECT_ID_SIZE])
{
    for (const char *line = answer; *line; line = strchrnul(line, '\n'), line += *line == '\n') {
        size_t len = strcspn(line, "\n"), id = strcspn(line, "\t");
        if (id != OBJECT_ID_LEN || len - id - 1 != strlen(name) ||
            strncmp(line + id + 1, name, len - id - 1))
            continue;
        memcpy(sha, line, OBJECT_ID_LEN);
        sha[OBJECT_ID_LEN] = '\0';
        return object_id_valid(sha);
    }
    return false;
}

/* The branch that HEAD is, into NAME: "ref: refs/heads/main\tHEAD". */
static bool find_head(const char *answer, char name[NAME_MAX_BYTES])
{
    static const char before[] = "ref: " REPOSITORY_HEADS;
    const char *line = strstr(answer, before);
    if (!line || (line > answer && line[-1] != '\n'))
        return false;
    size_t len = strcspn(line += sizeof before - 1, "\t\n");
    if (len >= NAME_MAX_BYTES || strncmp(line + len, "\tHEAD\n", 6))
        return false;
    snprintf(name, NAME_MAX_BYTES, "%.*s", (int)len, line);
    return refname_check_branch(name, NULL) == 0;
}

/* What is said of the base. */
struct found {
    char name[NAME_MAX_BYTES]; /* as git_resolve_base() gives it */
    char sha[OBJECT_ID_SIZE];
};

static int find_default(const struct remote *remote, const char *answer, struct found *out,
                        struct err *err)
{
    if (!find(answer, "HEAD", out->sha))
        return err_set(err, ERR_REFUSED, "there is no commit in '%s' yet: push one first",
                       remote->url.text);
    if (!find_head(answer, out->name))
        strcpy(out->name, out->sha);
    return 0;
}

/* In the order of a local repository: branch, tag, any other ref. */
static int find_base(const struct remote *remote, const char *answer, const char *base,
                     struct found *out, struct err *err)
{
    static const char *const prefixes[] = {REPOSITORY_HEADS, TAGS, "refs/", ""};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        char full[NAME_MAX_BYTES], peeled[NAME_MAX_BYTES];
        if (i == 3 && !str_starts_with(base, "refs/"))
            break;
        snprintf(full, sizeof full, "%s%s", prefixes[i], base);
        snprintf(peeled, sizeof peeled, "%s%s^{}", prefixes[i], base);
        if (!find(answer, peeled, out->sha) && !find(answer, full, out->sha))
            continue;
        snprintf(out->name, sizeof out->name, "%s",
                 str_starts_with(full, REPOSITORY_HEADS) ? full + strlen(REPOSITORY_HEADS) : full);
        return 0;
    }
    if (object_id_valid(base)) { /* whether it has that commit shows when it is fetched */
        strcpy(out->name, base);
        strcpy(out->sha, base);
        return 0;
    }
    return err_set(err, ERR_NOT_FOUND,
                   "there is no branch or tag '%s' in '%s' (a commit needs all its 40 digits)",
                   base, remote->url.text);
}

/* Whether the branch is there; ERR_REFUSED when another one is in its way. */
static int look_at_branch(const char *answer, const struct question *question, const char *branch,
                          struct err *err)
{
    char full[NAME_MAX_BYTES], sha[OBJECT_ID_SIZE];
    snprintf(full, sizeof full, REPOSITORY_HEADS "%s", branch);
    if (find(answer, full, sha))
        return 1;
    for (size_t i = 0; i < question->count; i++) {
        size_t len = strlen(question->names[i]);
        if (!strncmp(question->names[i], full, len) && full[len] == '/' &&
            find(answer, question->names[i], sha))
            return err_set(err, ERR_REFUSED, "branch '%s' is in the way of '%s'",
                           question->names[i] + strlen(REPOSITORY_HEADS), branch);
    }
    strcat(full, "/");
    const char *below = strstr(answer, full);
    if (below && below > answer && below[-1] == '\t')
        return err_set(err, ERR_REFUSED, "branch '%.*s' is in the way of '%s'",
                       (int)strcspn(below, "\n") - (int)strlen(REPOSITORY_HEADS),
                       below + strlen(REPOSITORY_HEADS), branch);
    return 0;
}

static int check_base(const char *base, struct err *err)
{
    if (!base || refname_check_branch(base, NULL) == 0)
        return 0;
    return err_set(err, ERR_USAGE,
                   "not a usable base of a remote repository: a branch, a tag or a whole commit id "
                   "is");
}

static int answer_question(struct remote *remote, const struct verb_request *request,
                           const char *base, const struct question *question, struct buf *answer,
                           struct err *err)
{
    struct found found;
    int there = 0;
    int status = base ? find_base(remote, answer->data, base, &found, err)
                      : find_default(remote, answer->data, &found, err);
    if (status == 0 && request->branch)
        status = there = look_at_branch(answer->data, question, request->branch, err);
    if (status >= 0)
        status = remote_check_push(remote, err);
    if (status < 0)
        return status;
    AUTO_BUF struct buf out;
    buf_init(&out, 8192);
    buf_appendf(&out, "path %s\nbase %s\ncommit %s\n", remote->url.text, found.name, found.sha);
    if (request->branch)
        buf_appendf(&out, "branch_exists %s\n", there ? "yes" : "no");
    return io_write_all(STDOUT_FILENO, out.data, out.len, err);
}

int git_remote_resolve(const struct verb_request *request, struct err *err)
{
    const char *base = request->base;
    if (base && (!strcmp(base, "HEAD") || !strcmp(base, "@")))
        base = NULL;
    int status = check_base(base, err);
    if (status < 0)
        return status;
    struct question question = {.count = 0};
    if (base)
        ask_base(&question, base);
    if (request->branch)
        ask_branch(&question, request->branch);
    AUTO_BUF struct buf answer;
    buf_init(&answer, LIST_MAX);
    struct remote remote;
    status = remote_open(&remote, request, REMOTE_FD_ACCESS, err);
    if (status == 0)
        status = list(&remote, &question, &answer, err);
    if (status == 0)
        status = answer_question(&remote, request, base, &question, &answer, err);
    remote_release(&remote);
    return status;
}
