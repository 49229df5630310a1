#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "workspace/modules.h"

enum { LIST_MAX = 256 << 20, CHANGES_MAX = 64 << 20, STATUS_TIMEOUT_MS = 120000 };

/* A submodule that was one before: its commits, and its path. */
struct moved {
    char from[OBJECT_ID_SIZE], to[OBJECT_ID_SIZE];
    const char *path;
};

/* The next of ":160000 160000 <from> <to> M\0<path>\0": git-diff(1), "Raw output". False at the
 * end. */
static bool next_moved(const struct buf *changes, const char **at, struct moved *moved)
{
    static const char both[] = ":160000 160000 ";
    const size_t before = sizeof both - 1;
    const char *end = changes->data + changes->len;
    while (*at < end) {
        const char *line = *at, *path = line + strlen(line) + 1;
        if (path >= end)
            return false;
        *at = path + strlen(path) + 1;
        if (strncmp(line, both, before) || strlen(line) < before + 2 * (OBJECT_ID_LEN + 1))
            continue;
        *moved = (struct moved){.path = path};
        memcpy(moved->from, line + before, OBJECT_ID_LEN);
        memcpy(moved->to, line + before + OBJECT_ID_LEN + 1, OBJECT_ID_LEN);
        return true;
    }
    return false;
}

static int put_back(const struct worktree *worktree, const char *index, const struct moved *moved,
                    struct err *err)
{
    struct worktree_command update;
    AUTO_BUF struct buf entry;
    buf_init(&entry, strlen(moved->path) + 128);
    buf_appendf(&entry, "160000 %s 0\t%s", moved->from, moved->path);
    buf_append_char(&entry, '\0');
    worktree_command_init(&update, worktree, worktree->dir, index);
    git_args(&update.git, "update-index", "-z", "--index-info", NULL);
    update.git.input = entry.data;
    update.git.input_len = entry.len;
    return git_must(&update.git, err);
}

/* Whether what the base names builds on it: then the remote has it, too. */
static bool is_below(const struct worktree *worktree, const struct moved *moved)
{
    struct err ignored;
    struct git_command git;
    AUTO_FREE char *git_dir = str_format("%s/%s/.git", worktree->dir, moved->path);
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "merge-base", "--is-ancestor", moved->to, moved->from, NULL);
    return git_run(&git, &ignored) == 0;
}

static void say(const char *path, const char *what)
{
    struct err line;
    err_set(&line, 0, "'%s' is a submodule: %s", path, what);
    err_print(&line, "codex-agent commit");
}

static int settle_moved(const struct worktree *worktree, const char *index, const char *base,
                        struct err *err)
{
    AUTO_BUF struct buf changes;
    buf_init(&changes, CHANGES_MAX);
    struct worktree_command list;
    worktree_command_init(&list, worktree, worktree->dir, index);
    git_args(&list.git, "diff-index", "--cached", "--raw", "-z", "--no-renames", "--no-abbrev",
             "--diff-filter=M", base, NULL);
    list.git.out = &changes;
    int status = git_must(&list.git, err);
    const char *at = changes.data;
    struct moved moved;
    while (status == 0 && next_moved(&changes, &at, &moved)) {
        if (is_below(worktree, &moved))
            continue;
        status = put_back(worktree, index, &moved, err);
        if (status == 0)
            say(moved.path, "commits made in it cannot be delivered with this repository; it stays "
                            "at the commit that the base has");
    }
    return status;
}

/* Whether tracked files in the repository at DIR have changed. */
static bool has_changes(const char *dir)
{
    struct err ignored;
    AUTO_FREE char *git_dir = str_format("%s/.git", dir);
    AUTO_FREE char *index = str_format("GIT_INDEX_FILE=%s/index", git_dir);
    if (access(git_dir, F_OK) < 0)
        return false;
    AUTO_BUF struct buf answer;
    buf_init(&answer, CHANGES_MAX);
    struct git_command git;
    git_command_init(&git, git_dir, dir);
    git_args(&git, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all",
             NULL);
    git_env(&git, index);
    git.out = &answer;
    git.dir = dir;
    git.timeout_ms = STATUS_TIMEOUT_MS;
    return git_run(&git, &ignored) == 0 && answer.len > 0;
}

static void say_changes(const struct worktree *worktree, const char *index)
{
    struct err ignored;
    char sha[OBJECT_ID_SIZE];
    AUTO_BUF struct buf list;
    buf_init(&list, LIST_MAX);
    struct worktree_command git;
    worktree_command_init(&git, worktree, worktree->dir, index);
    git_args(&git.git, "ls-files", "--stage", "-z", NULL);
    git.git.out = &list;
    if (git_must(&git.git, &ignored) < 0)
        return;
    const char *path, *at = list.data;
    while ((path = modules_next(&list, &at, sha))) {
        AUTO_FREE char *dir = str_format("%s/%s", worktree->dir, path);
        if (has_changes(dir))
            say(path, "changes to its files cannot be delivered with this repository, and are left "
                      "out");
    }
}

int modules_settle(const struct worktree *worktree, const char *index, const char *base,
                   struct err *err)
{
    AUTO_FREE char *settings = str_format("%s/.gitmodules", worktree->dir);
    int status = settle_moved(worktree, index, base, err);
    if (access(settings, F_OK) == 0)
        say_changes(worktree, index);
    return status;
}
