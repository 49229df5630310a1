#include "workspace/nested.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"

enum {
    LIST_MAX = 64 << 20,   /* bytes of a list of changed files */
    REPOSITORIES_MAX = 64, /* at one level; git's references to more stay */
    LEVELS_MAX = 8,
};

static const char gitlink[] = "160000";
static const char nested_index[] = "nested-index";
static const char empty_tree[] = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/* The paths of repositories, as pointers into the lists that git printed. */
struct found {
    struct buf changes, others;
    const char *paths[REPOSITORIES_MAX];
    size_t count;
    bool modules_changed;
};

static void note(struct found *found, const char *path)
{
    if (found->count < REPOSITORIES_MAX)
        found->paths[found->count++] = path;
}

/* ":<old mode> <new mode> <old id> <new id> <status>\0<path>\0" each: git-diff(1), "Raw output". */
static void read_changes(struct found *found)
{
    const char *p = found->changes.data, *end = p + found->changes.len;
    while (p < end) {
        size_t len = strlen(p);
        const char *path = p + len + 1;
        if (len < sizeof ":000000 000000" || path >= end)
            return;
        bool was = !memcmp(p + 1, gitlink, sizeof gitlink - 1);
        bool is = !memcmp(p + 8, gitlink, sizeof gitlink - 1);
        if (!strcmp(path, ".gitmodules"))
            found->modules_changed = true;
        if (is && !was)
            note(found, path);
        p = path + strlen(path) + 1;
    }
}

static int list_changes(const struct worktree *worktree, const char *index, const char *base,
                        struct found *found, struct err *err)
{
    struct worktree_command list;
    worktree_command_init(&list, worktree, worktree->dir, index);
    git_args(&list.git, "diff-index", "--cached", "--raw", "-z", "--no-renames",
             "--diff-filter=ATM", base, NULL);
    list.git.out = &found->changes;
    int status = git_must(&list.git, err);
    if (status == 0)
        read_changes(found);
    return status;
}

/* What is still not staged and ends with a slash is a repository without a commit. */
static int list_others(const struct worktree *worktree, const char *index, struct found *found,
                       struct err *err)
{
    struct worktree_command list;
    worktree_command_init(&list, worktree, worktree->dir, index);
    git_args(&list.git, "ls-files", "--others", "--exclude-standard", "-z", NULL);
    list.git.out = &found->others;
    int status = git_must(&list.git, err);
    if (status < 0)
        return status;
    const char *end = found->others.data + found->others.len;
    for (const char *path = found->others.data; path < end; path += strlen(path) + 1)
        if (str_ends_with(path, "/"))
            note(found, path);
    return 0;
}

static int unstage(const struct worktree *worktree, const char *index, const char *path,
                   struct err *err)
{
    struct worktree_command remove;
    worktree_command_init(&remove, worktree, worktree->dir, index);
    git_args(&remove.git, "update-index", "-z", "--force-remove", "--stdin", NULL);
    remove.git.input = path;
    remove.git.input_len = strlen(path) + 1;
    return git_must(&remove.git, err);
}

static int insert(const struct worktree *worktree, const char *index, const char *path,
                  const char *tree, struct err *err)
{
    AUTO_FREE char *prefix = str_format("--prefix=%s/", path);
    struct worktree_command read;
    worktree_command_init(&read, worktree, worktree->dir, index);
    git_args(&read.git, "read-tree", prefix, tree, NULL);
    return git_must(&read.git, err);
}

/* The files of the repository PATH into the index, as its own rules of what is ignored say. 1 when
 * there were any. */
static int include(const struct worktree *worktree, const char *index, const char *path,
                   struct err *err)
{
    AUTO_FREE char *dir = str_format("%s/%s", worktree->dir, path);
    AUTO_FREE char *scratch = str_format("%s/%s", worktree->scratch, nested_index);
    char tree[OBJECT_ID_SIZE];
    unlink(scratch);
    int status = unstage(worktree, index, path, err);
    if (status == 0)
        status = worktree_stage(worktree, dir, nested_index, err);
    if (status >= 0)
        status = worktree_write_tree(worktree, nested_index, tree, err);
    if (status < 0 || !strcmp(tree, empty_tree))
        return status;
    status = insert(worktree, index, path, tree, err);
    return status < 0 ? status : 1;
}

/* The same for all that were found; one that fails is left out. Returns how many were taken in. */
static int include_all(const struct worktree *worktree, const char *index,
                       const struct found *found)
{
    int taken = 0;
    for (size_t i = 0; i < found->count; i++) {
        struct err note;
        size_t len = strlen(found->paths[i]);
        AUTO_FREE char *path =
            str_format("%.*s", (int)len - (found->paths[i][len - 1] == '/'), found->paths[i]);
        int status = include(worktree, index, path, &note);
        if (status > 0)
            err_set(&note, 0, "'%s' is a repository of its own: its files were added", path);
        else if (status < 0)
            err_context(&note, "'%s' is a repository of its own, and was left out", path);
        if (status != 0)
            err_print(&note, "codex-agent commit");
        taken += status > 0;
    }
    return taken;
}

/* One level: the repositories that are visible now. Returns how many were taken in. */
static int include_level(const struct worktree *worktree, const char *index, const char *base,
                         bool incomplete, struct err *err)
{
    struct found found = {0};
    buf_init(&found.changes, LIST_MAX);
    buf_init(&found.others, LIST_MAX);
    int status = list_changes(worktree, index, base, &found, err);
    if (status == 0 && found.modules_changed)
        found.count = 0;
    if (status == 0 && incomplete)
        status = list_others(worktree, index, &found, err);
    if (status == 0)
        status = include_all(worktree, index, &found);
    buf_release(&found.changes);
    buf_release(&found.others);
    return status;
}

int nested_include(const struct worktree *worktree, const char *index, const char *base,
                   bool incomplete, struct err *err)
{
    for (int level = 0; level < LEVELS_MAX; level++) {
        int taken = include_level(worktree, index, base, incomplete, err);
        if (taken <= 0)
            return taken;
    }
    return 0;
}
