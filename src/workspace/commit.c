/*
 * `codex-agent commit`. What the agent has committed itself stays, if it builds on the base; what
 * it has left in the work tree goes into one commit more. The workspace's branch and index are not
 * touched, so a later round finds them as the agent left them, and the commit made then replaces
 * the one made now. The same files, commits and task make the same commit, to the bit.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/json_text.h"
#include "base/object_id.h"
#include "base/privilege.h"
#include "base/sandbox_layout.h"
#include "base/str.h"
#include "git/bundle.h"
#include "git/command.h"
#include "git/large_files.h"
#include "git/repository.h"
#include "task/exit.h"
#include "workspace/fresh.h"
#include "workspace/large_files.h"
#include "workspace/message.h"
#include "workspace/ownership.h"
#include "workspace/step.h"
#include "workspace/steps.h"
#include "workspace/worktree.h"

enum { BUNDLE_TIMEOUT_MS = 900000 };

static const char *state_dir = SANDBOX_STATE_DIR;

/* The work, from the files to the commit. */
struct work {
    const struct step *step;
    char *scratch; /* ours, beside the workspace */
    char *git_dir; /* the workspace's repository, or one of ours in its place */
    bool rebuilt;  /* the latter */
    char parent[OBJECT_ID_SIZE];
    char tree[OBJECT_ID_SIZE];
    char commit[OBJECT_ID_SIZE]; /* "" when nothing has changed */
    int64_t files, insertions, deletions;
};

/* The agent took the workspace's repository apart: its files can still become a commit on the base,
 * in a repository of ours. */
static int rebuild_repository(struct work *work, struct err *err)
{
    const struct bundle_options options = {.timeout_ms = BUNDLE_TIMEOUT_MS};
    struct bundle bundle;
    if (!step_has_input(work->step, STEP_FD_BASE))
        return err_set(err, ERR_NOT_FOUND, "the workspace's repository lost the base commit %s",
                       work->step->base_commit);
    free(work->git_dir);
    work->git_dir = str_format("%s/repository.git", work->scratch);
    work->rebuilt = true;
    int status = bundle_read(STEP_FD_BASE, BUNDLE_REF_BASE, &bundle, err);
    if (status == 0 && strcmp(bundle.commit, work->step->base_commit) != 0)
        status = err_set(err, ERR_PROTOCOL, "it is not of commit %s", work->step->base_commit);
    if (status == 0)
        status = repository_init(work->git_dir, err);
    if (status == 0)
        status = bundle_unpack(&bundle, STEP_FD_BASE, work->git_dir, &options, err);
    if (status == 0)
        status = fresh_large_files(work->git_dir, STEP_FD_BASE, err);
    bundle_release(&bundle);
    return status < 0 ? err_context(err, "base bundle") : 0;
}

/* Find out which repository to work in, and what the new commit is to build on: the agent's own
 * last commit, if that is based on the base and all there, else the base. */
static int choose_parent(struct work *work, struct err *err)
{
    const char *base = work->step->base_commit;
    struct repository_name names[] = {{.name = base}, {.name = "HEAD"}};
    memcpy(work->parent, base, OBJECT_ID_SIZE);
    work->git_dir = str_format("%s/.git", work->step->workdir);
    int status = repository_look_up(work->git_dir, names, 2, err);
    if (status < 0 || strcmp(names[0].sha, base) != 0)
        return rebuild_repository(work, err);
    struct err ignored;
    if (*names[1].sha && strcmp(names[1].sha, base) != 0 &&
        repository_contains(work->git_dir, names[1].sha, base, &ignored) == 1 &&
        repository_check_complete(work->git_dir, names[1].sha, base, &ignored) == 0)
        memcpy(work->parent, names[1].sha, OBJECT_ID_SIZE);
    return 0;
}

static int write_tree(struct work *work, struct err *err)
{
    AUTO_FREE char *index = str_format("%s/.git/index", work->step->workdir);
    const struct worktree worktree = {work->git_dir, work->step->workdir, work->scratch};
    int status = worktree_write(&worktree, work->rebuilt ? NULL : index, work->parent,
                                work->step->base_commit, work->tree, err);
    /* The agent's own commits would carry them out all the same. */
    if (status > 0 ||
        (status == 0 && strcmp(work->parent, work->step->base_commit) != 0 &&
         !large_files_are_whole(work->git_dir, work->parent, work->step->base_commit)))
        memcpy(work->parent, work->step->base_commit, OBJECT_ID_SIZE);
    return status < 0 ? status : 0;
}

static int read_tree_of(const struct work *work, const char *commit, char *tree, struct err *err)
{
    AUTO_FREE char *name = str_format("%s^{tree}", commit);
    struct git_command git;
    git_command_init(&git, work->git_dir, NULL);
    git_args(&git, "rev-parse", name, NULL);
    return git_read_id(&git, tree, err);
}

static int commit_tree(struct work *work, const struct message *message, struct err *err)
{
    const struct step *step = work->step;
    AUTO_FREE char *author_name = str_format("GIT_AUTHOR_NAME=%s", step->author_name);
    AUTO_FREE char *author_email = str_format("GIT_AUTHOR_EMAIL=%s", step->author_email);
    AUTO_FREE char *author_date =
        str_format("GIT_AUTHOR_DATE=%lld +0000", (long long)step->commit_time);
    AUTO_FREE char *committer_name = str_format("GIT_COMMITTER_NAME=%s", step->author_name);
    AUTO_FREE char *committer_email = str_format("GIT_COMMITTER_EMAIL=%s", step->author_email);
    AUTO_FREE char *committer_date =
        str_format("GIT_COMMITTER_DATE=%lld +0000", (long long)step->commit_time);
    const char *env[] = {author_name,    author_email,    author_date,
                         committer_name, committer_email, committer_date};
    AUTO_BUF struct buf text;
    buf_init(&text, MESSAGE_TITLE_MAX + MESSAGE_BODY_MAX + 16);
    message_format(message, &text);
    struct git_command git;
    git_command_init(&git, work->git_dir, NULL);
    git_args(&git, "commit-tree", "--no-gpg-sign", "-p", work->parent, "-F", "-", work->tree, NULL);
    for (size_t i = 0; i < sizeof env / sizeof env[0]; i++)
        git_env(&git, env[i]);
    git.input = text.data;
    git.input_len = text.len;
    return git_read_id(&git, work->commit, err);
}

/* The commit that holds the work; none if it comes down to what the base is. */
static int make_commit(struct work *work, const struct message *message, struct err *err)
{
    const char *base = work->step->base_commit;
    char base_tree[OBJECT_ID_SIZE], parent_tree[OBJECT_ID_SIZE];
    int status = read_tree_of(work, base, base_tree, err);
    if (status < 0 || !strcmp(work->tree, base_tree))
        return status;
    if (!strcmp(work->parent, base))
        return commit_tree(work, message, err);
    status = read_tree_of(work, work->parent, parent_tree, err);
    if (status < 0 || strcmp(work->tree, parent_tree) != 0)
        return status < 0 ? status : commit_tree(work, message, err);
    memcpy(work->commit, work->parent, OBJECT_ID_SIZE);
    return 0;
}

/* The number before the word WORD in git's " 2 files changed, 5 insertions(+), 1 deletion(-)". */
static int64_t number_before(const char *text, const char *word)
{
    const char *p = strstr(text, word);
    if (!p)
        return 0;
    while (p > text && p[-1] == ' ')
        p--;
    while (p > text && p[-1] >= '0' && p[-1] <= '9')
        p--;
    return strtoll(p, NULL, 10);
}

static int count_changes(struct work *work, struct err *err)
{
    AUTO_BUF struct buf answer;
    buf_init(&answer, 4096);
    struct git_command git;
    git_command_init(&git, work->git_dir, NULL);
    git_args(&git, "diff-tree", "-r", "--shortstat", "--find-renames", "--no-ext-diff",
             "--no-textconv", work->step->base_commit, work->commit, NULL);
    git.out = &answer;
    int status = git_must(&git, err);
    work->files = number_before(answer.data, "file");
    work->insertions = number_before(answer.data, "insertion");
    work->deletions = number_before(answer.data, "deletion");
    return status;
}

static int write_bundle_to(const struct work *work, int fd, struct err *err)
{
    struct bundle bundle = {0};
    memcpy(bundle.commit, work->commit, OBJECT_ID_SIZE);
    memcpy(bundle.base, work->step->base_commit, OBJECT_ID_SIZE);
    return bundle_write(&bundle, BUNDLE_REF_WORK, work->git_dir, fd, BUNDLE_TIMEOUT_MS, err);
}

/* With FILES, which need a file whose end is known, and not a pipe. */
static int write_with_large_files(const struct work *work, const struct large_files *files,
                                  struct err *err)
{
    AUTO_FREE char *store = str_format("%s/" LARGE_FILES_DIRECTORY, work->git_dir);
    AUTO_FREE char *path = str_format("%s/work.bundle", work->scratch);
    AUTO_FD int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, "cannot create '%s'", path);
    int status = write_bundle_to(work, fd, err);
    if (status == 0)
        status = large_files_write(fd, store, files, err);
    return status < 0 ? status : io_copy(fd, 0, -1, STEP_FD_DATA, err);
}

static int write_bundle(const struct work *work, struct err *err)
{
    struct large_files files = {0};
    int status =
        large_files_are_kept(work->git_dir)
            ? large_files_find(work->git_dir, work->commit, work->step->base_commit, &files, err)
            : 0;
    if (status == 0)
        status = files.count ? write_with_large_files(work, &files, err)
                             : write_bundle_to(work, STEP_FD_DATA, err);
    large_files_release(&files);
    return status;
}

static int write_result(const struct work *work, const struct message *message, struct err *err)
{
    AUTO_BUF struct buf json;
    buf_init(&json, STEP_RESULT_MAX);
    buf_append_str(&json, "{\"commit\":");
    json_text_cstring(&json, *work->commit ? work->commit : NULL);
    buf_appendf(&json,
                ",\"changed\":%s,\"files\":%lld,\"insertions\":%lld,\"deletions\":%lld,\"title\":",
                *work->commit ? "true" : "false", (long long)work->files,
                (long long)work->insertions, (long long)work->deletions);
    json_text_cstring(&json, message->title.data);
    buf_append_str(&json, ",\"body\":");
    json_text_cstring(&json, message->body.data);
    buf_append_str(&json, ",\"branch\":");
    json_text_cstring(&json, message->branch);
    if (buf_append_char(&json, '}') < 0)
        return err_set(err, ERR_LIMIT, "the result is larger than %d bytes", STEP_RESULT_MAX);
    return step_write_result(&json, err);
}

/* As the task's user. */
static int commit_work(struct work *work, const struct message *message, struct err *err)
{
    int status = io_remove_tree_at(AT_FDCWD, work->scratch, err);
    if (status == 0 && mkdir(work->scratch, 0700) < 0)
        status = err_errno(err, "cannot create '%s'", work->scratch);
    if (status == 0)
        status = choose_parent(work, err);
    if (status == 0)
        status = write_tree(work, err);
    if (status == 0)
        status = make_commit(work, message, err);
    if (status == 0 && *work->commit)
        status = count_changes(work, err);
    if (status == 0 && *work->commit)
        status = write_bundle(work, err);
    return status < 0 ? status : write_result(work, message, err);
}

/* As root, who alone can read it. What is unusable is said and does not stop the work. */
static void read_message(const struct step *step, struct message *message)
{
    struct err err;
    int status = message_from_submission(state_dir, message, &err);
    if (status < 0)
        err_print(&err, "codex-agent commit");
    if (status <= 0)
        message_from_prompt(step->prompt, message);
}

/* What an agent that was killed left running must not change files under our hands. What was root's
 * to make becomes the user's, as whom git runs. */
static int end_others(const struct step *step, struct err *err)
{
    if (step->as_root) {
        privilege_kill_others();
        return ownership_hand_over(step->workdir, err);
    }
    int status = privilege_kill_all(SANDBOX_UID, SANDBOX_GID);
    return status < 0 ? err_set(err, status, "cannot end what the task has left running: %s",
                                strerror(-status))
                      : 0;
}

static int commit(struct step *step, struct err *err)
{
    struct message message;
    AUTO_FREE char *parent = step_parent(step);
    struct work work = {.step = step, .scratch = str_format("%s/.codex-commit", parent)};
    message_init(&message);
    read_message(step, &message);
    umask(022);
    int status = end_others(step, err);
    if (status == 0)
        status = step_drop(err);
    if (status == 0)
        status = commit_work(&work, &message, err);
    struct err ignored;
    io_remove_tree_at(AT_FDCWD, work.scratch, &ignored);
    bool changed = *work.commit;
    message_release(&message);
    free(work.scratch);
    free(work.git_dir);
    return status < 0 ? status : changed ? STEP_EXIT_DONE : STEP_EXIT_NOTHING;
}

int commit_main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "--state")) {
        state_dir = argv[2];
        argc = 1;
    }
    return step_main(argc, argv, commit, STEP_EXIT_FAILED);
}
