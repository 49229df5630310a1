/*
 * The branch goes out from a repository of its own, which sees the mirror's objects: what a sandbox
 * made is never in the mirror, where other tasks would find it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "git/bundle.h"
#include "git/mirror.h"
#include "git/remote.h"
#include "git/remote_large.h"
#include "git/repository.h"
#include "git/verbs.h"

enum { UNPACK_TIMEOUT_MS = 600000, ANSWER_MAX = 65536, REASON_MAX = 400 };

/* Read the bundle FD into GIT_DIR. It is to hold COMMIT and to build on BASE, where that is named. */
static int take_bundle(int fd, const char *commit, const char *base, const char *git_dir,
                       struct bundle *bundle, struct err *err)
{
    const struct bundle_options options = {.strict = true, .timeout_ms = UNPACK_TIMEOUT_MS};
    int status = bundle_read(fd, BUNDLE_REF_WORK, bundle, err);
    if (status == 0 && ((commit && strcmp(bundle->commit, commit) != 0) || !*bundle->base ||
                        (base && strcmp(bundle->base, base) != 0)))
        status = err_set(err, ERR_PROTOCOL, "the bundle holds something else than %s",
                         commit ? commit : "the base commit");
    return status < 0 ? status : bundle_unpack(bundle, fd, git_dir, &options, err);
}

/* The work's objects into GIT_DIR, and all that they build on is there. The base is the remote's, or
 * it came along with the task, on top of the remote's commit REQUEST->base_commit. */
static int take_work(struct remote *remote, const struct verb_request *request, const char *git_dir,
                     struct err *err)
{
    struct bundle work = {0}, extra = {0};
    const char *known = request->base_commit;
    int status = bundle_read(REMOTE_FD_BUNDLE, BUNDLE_REF_WORK, &work, err);
    char base[OBJECT_ID_SIZE];
    memcpy(base, work.base, sizeof base);
    bundle_release(&work);
    if (status == 0)
        status = mirror_fetch(remote, known ? known : base, err);
    if (status == 0 && known)
        status = take_bundle(REMOTE_FD_EXTRA, base, known, git_dir, &extra, err);
    if (status == 0)
        status = take_bundle(REMOTE_FD_BUNDLE, request->commit, base, git_dir, &work, err);
    if (status == 0)
        status = repository_check_complete(git_dir, request->commit, known ? known : base, err);
    bundle_release(&work);
    bundle_release(&extra);
    return status;
}

/* What the remote itself says about a refusal: the first line of its hook that is one, into OUT. */
static void find_remote_words(const char *said, char *out, size_t size)
{
    static const char before[] = "remote: ";
    out[0] = '\0';
    for (const char *line = said; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (!str_starts_with(line, before))
            continue;
        const char *words = line + sizeof before - 1 + strspn(line + sizeof before - 1, " ");
        size_t len = strcspn(words, "\r\n");
        while (len && words[len - 1] == ' ') /* which git puts there, to clear the line */
            len--;
        if (len == 0)
            continue;
        snprintf(out, size, "%.*s", (int)(len < size ? len : size - 1), words);
        if (strstr(out, "rror") || strstr(out, "denied") || strstr(out, "GH0"))
            return;
    }
}

/* "!\tFROM:TO\t[rejected] (stale info)" and its like, of the one ref that was pushed. */
static int read_outcome(const char *answer, const char *said, const struct verb_request *request,
                        struct err *err)
{
    char remote_words[REASON_MAX];
    for (const char *line = answer; *line; line = strchrnul(line, '\n'), line += *line == '\n') {
        if (!strchr("*=! +-", line[0]) || line[1] != '\t')
            continue;
        if (line[0] == '*' || line[0] == '=')
            return 0;
        const char *summary = strchr(line + 2, '\t');
        int len = summary ? (int)strcspn(summary + 1, "\n") : 0;
        if (summary && (!strncmp(summary + 1, "[rejected]", 10) ||
                        memmem(summary, (size_t)len, "reference already exists", 24)))
            return err_set(err, ERR_CONFLICT, "branch '%s' exists and is another commit",
                           request->branch);
        find_remote_words(said, remote_words, sizeof remote_words);
        return err_set(err, ERR_REFUSED, "the remote refuses branch '%s': %.*s%s%s",
                       request->branch, len < REASON_MAX ? len : REASON_MAX,
                       summary ? summary + 1 : "", *remote_words ? ": " : "", remote_words);
    }
    return 1;
}

/* 1 when the branch, which is at the remote, contains the commit, else 0; negative when that cannot be
 * found out. */
static int branch_contains(struct remote *remote, const struct verb_request *request,
                           const char *git_dir, struct err *err)
{
    static const char there[] = "refs/codex/there";
    AUTO_FREE char *spec = str_format("+refs/heads/%s:%s", request->branch, there);
    struct repository_name name = {.name = there};
    struct git_command git;
    remote_command(remote, &git, git_dir);
    git_args(&git, "fetch", "--progress", "--no-tags", "--no-write-fetch-head", "--no-auto-gc",
             "--no-recurse-submodules", "--no-show-forced-updates", remote->url.text, spec, NULL);
    int status = remote_run(remote, &git, err);
    if (status == 0)
        status = repository_look_up(git_dir, &name, 1, err);
    if (status < 0 || !*name.sha)
        return status;
    return repository_contains(git_dir, name.sha, request->commit, err);
}

/* The remote said no, as ERR tells. That may be because of ourselves: a push before this one, of
 * which we have not heard, or curl, which sends a request again when its connection broke off under
 * it. Then the branch is there as it should be, or somebody has built on it already. */
static int look_again(struct remote *remote, const struct verb_request *request,
                      const char *git_dir, int refused, struct err *err)
{
    char sha[OBJECT_ID_SIZE];
    struct err ignored;
    if (remote_find_branch(remote, request->branch, sha, &ignored) < 0 || !*sha)
        return refused;
    if (!strcmp(sha, request->commit))
        return 0;
    int contains = branch_contains(remote, request, git_dir, err);
    if (contains < 0) /* it is asked again, and not taken for another's meanwhile */
        return contains;
    if (contains > 0)
        return 0;
    return err_set(err, ERR_CONFLICT, "branch '%s' exists and is another commit", request->branch);
}

static int push(struct remote *remote, const struct verb_request *request, const char *git_dir,
                struct err *err)
{
    AUTO_FREE char *lease = str_format("--force-with-lease=refs/heads/%s:", request->branch);
    AUTO_FREE char *spec = str_format("%s:refs/heads/%s", request->commit, request->branch);
    AUTO_BUF struct buf answer, said;
    buf_init(&answer, ANSWER_MAX);
    buf_init(&said, ANSWER_MAX);
    struct git_command git;
    remote_command(remote, &git, git_dir);
    git_args(&git, "push", "--porcelain", "--progress", "--no-verify", "--no-follow-tags",
             "--recurse-submodules=no", lease, remote->url.text, spec, NULL);
    git.out = &answer;
    int status = remote_run_said(remote, &git, &said, err);
    if (status == 0)
        return 0;
    struct err why;
    int outcome = read_outcome(answer.data, said.data, request, &why);
    if (outcome > 0)
        return status;
    if (outcome == 0)
        return 0;
    *err = why;
    return look_again(remote, request, git_dir, outcome, err);
}

/* What the new commits have in Git LFS, before them: a forge refuses pointers to what it does not have. */
static int push_large_files(struct remote *remote, const char *git_dir, struct err *err)
{
    AUTO_FREE char *store = str_format("%s/" LARGE_FILES_DIRECTORY, git_dir);
    struct large_files files = {0};
    int status = large_files_list(REMOTE_FD_BUNDLE, &files, err);
    if (status == 0 && files.count)
        status = large_files_take(REMOTE_FD_BUNDLE, store, false, err);
    if (status == 0 && files.count)
        status = remote_large_push(remote, git_dir, &files, err);
    large_files_release(&files);
    return status;
}

int git_remote_push(const struct verb_request *request, struct err *err)
{
    struct remote remote;
    int status = remote_open(&remote, request, REMOTE_FD_ACCESS, err);
    if (status == 0)
        status = mirror_open(&remote, err);
    AUTO_FREE char *git_dir = status == 0 ? remote_scratch(&remote, "push.git", err) : NULL;
    if (status == 0 && !git_dir)
        status = err->code;
    if (status == 0)
        status = take_work(&remote, request, git_dir, err);
    if (status == 0)
        status = push_large_files(&remote, git_dir, err);
    if (status == 0)
        status = push(&remote, request, git_dir, err);
    remote_release(&remote);
    return status;
}
