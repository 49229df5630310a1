#include "workspace/large_files.h"

#include <sha2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "git/large_files.h"

enum {
    LIST_MAX = 256 << 20,
    CONTENT_MAX = 256 << 20, /* bytes of a file that is compared with what the base has */
    LOOKS_MAX = 4096,        /* contents that are looked at, each by a git; more count as unknown */
};

/* A changed path; what the base has there has no id when it has nothing. */
struct change {
    char old_mode[7], old_id[OBJECT_ID_SIZE], id[OBJECT_ID_SIZE];
    const char *path;
};

/* Run COMMAND on the index, with its output in OUT. */
static int ask(struct worktree_command *command, struct buf *out, struct err *err)
{
    command->git.out = out;
    return git_must(&command->git, err);
}

/* Whether any attribute file names Git LFS: most repositories have none. */
static bool is_used(const struct worktree *worktree, const char *index)
{
    struct err ignored;
    struct worktree_command grep;
    worktree_command_init(&grep, worktree, worktree->dir, index);
    git_args(&grep.git, "grep", "--cached", "--quiet", "-e", "filter=lfs", "--",
             ":(top,glob)**/.gitattributes", NULL);
    return git_run(&grep.git, &ignored) == 0;
}

static int list_changes(const struct worktree *worktree, const char *index, const char *base,
                        struct buf *out, struct err *err)
{
    struct worktree_command diff;
    worktree_command_init(&diff, worktree, worktree->dir, index);
    git_args(&diff.git, "diff-index", "--cached", "--raw", "-z", "--no-renames", "--no-abbrev",
             "--diff-filter=AMT", base, NULL);
    return ask(&diff, out, err);
}

/* The next of ":<old mode> <mode> <old id> <id> <status>\0<path>\0": git-diff(1), "Raw output". Only
 * files. False at the end. */
static bool next_change(const struct buf *changes, const char **at, struct change *change)
{
    const char *end = changes->data + changes->len;
    while (*at < end) {
        char mode[7];
        const char *line = *at, *path = line + strlen(line) + 1;
        if (path >= end)
            return false;
        *at = path + strlen(path) + 1;
        change->path = path;
        if (sscanf(line, ":%6s %6s %40s %40s", change->old_mode, mode, change->old_id,
                   change->id) == 4 &&
            str_starts_with(mode, "100"))
            return true;
    }
    return false;
}

/* The attribute `filter` of the changed paths: "<path>\0filter\0<value>\0" each. */
static int read_filters(const struct worktree *worktree, const char *index,
                        const struct buf *changes, struct buf *out, struct err *err)
{
    struct change change;
    AUTO_BUF struct buf paths;
    buf_init(&paths, LIST_MAX);
    for (const char *at = changes->data; next_change(changes, &at, &change);)
        buf_append(&paths, change.path, strlen(change.path) + 1);
    if (!paths.len)
        return 0;
    struct worktree_command check;
    worktree_command_init(&check, worktree, worktree->dir, index);
    git_args(&check.git, "check-attr", "-z", "--cached", "--stdin", "filter", NULL);
    check.git.input = paths.data;
    check.git.input_len = paths.len;
    return ask(&check, out, err);
}

/* The value of the next path's attribute, where *AT moves on; "" at the end. */
static const char *next_filter(const struct buf *filters, const char **at)
{
    const char *end = filters->data + filters->len, *value = "";
    for (int i = 0; i < 3 && *at < end; i++) {
        value = *at;
        *at += strlen(*at) + 1;
    }
    return value;
}

/* What the blob ID is a pointer to; false when it is none. */
static bool read_pointer(const struct worktree *worktree, const char *id, struct large_file *file)
{
    struct err ignored;
    AUTO_BUF struct buf content;
    buf_init(&content, LARGE_FILE_POINTER_MAX);
    struct git_command git;
    git_command_init(&git, worktree->git_dir, NULL);
    git_args(&git, "cat-file", "blob", id, NULL);
    git.out = &content;
    return git_run(&git, &ignored) == 0 && large_file_parse(content.data, content.len, file);
}

/* Whether the base has the content itself where the work has a pointer to it: the filter, and nobody who
 * worked on it, made that. */
static bool is_only_filtered(const struct worktree *worktree, const struct change *change)
{
    struct err ignored;
    struct large_file file;
    char id[SHA256_DIGEST_STRING_LENGTH];
    AUTO_BUF struct buf content;
    if (!str_starts_with(change->old_mode, "100") || !read_pointer(worktree, change->id, &file) ||
        file.size > CONTENT_MAX)
        return false;
    buf_init(&content, (size_t)file.size);
    struct git_command git;
    git_command_init(&git, worktree->git_dir, NULL);
    git_args(&git, "cat-file", "blob", change->old_id, NULL);
    git.out = &content;
    if (git_run(&git, &ignored) != 0)
        return false;
    SHA256Data((const uint8_t *)content.data, content.len, id);
    return !strcmp(id, file.id);
}

static int list_base(const struct worktree *worktree, const char *base, struct buf *out,
                     struct err *err)
{
    struct git_command git;
    if (out->len)
        return 0;
    git_command_init(&git, worktree->git_dir, NULL);
    git_args(&git, "ls-tree", "-r", "-z", "--full-tree", base, NULL);
    git.out = out;
    return git_must(&git, err);
}

static bool has_content(const struct buf *base_list, const char *id)
{
    const char *end = base_list->data + base_list->len;
    for (const char *line = base_list->data; line < end; line += strlen(line) + 1)
        if (str_starts_with(line, "100") &&
            !strncmp(line + sizeof "100644 blob", id, OBJECT_ID_LEN))
            return true;
    return false;
}

static void put_back(struct buf *entries, const struct change *change)
{
    bool is_new = str_starts_with(change->old_mode, "000000");
    /* Mode 0 takes a path out. */
    buf_appendf(entries, "%s %s 0\t%s", is_new ? "0" : change->old_mode, change->old_id,
                change->path);
    buf_append_char(entries, '\0');
}

static void say(const struct change *change)
{
    struct err line;
    bool is_new = str_starts_with(change->old_mode, "000000");
    err_set(&line, 0, "'%s' belongs in Git LFS, and is not in the workspace's: %s", change->path,
            is_new ? "it was left out" : "its change was left out");
    err_print(&line, "codex-agent commit");
}

/* Whether the change can be delivered: its content is here, or the base had none there in Git LFS. */
static bool is_fine(const struct worktree *worktree, const char *store, const struct change *change)
{
    static const char empty[] = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"; /* its own pointer */
    struct large_file file;
    if (!strcmp(change->id, empty))
        return true;
    if (read_pointer(worktree, change->id, &file))
        return large_file_is_stored(store, &file);
    return str_starts_with(change->old_mode, "100") &&
           !read_pointer(worktree, change->old_id, &file);
}

/* Into ENTRIES, for update-index, what is to be put back; *LOST: whether work is lost by it. */
static int choose(const struct worktree *worktree, const char *base, const struct buf *changes,
                  const struct buf *filters, struct buf *entries, bool *lost, struct err *err)
{
    struct change change;
    AUTO_FREE char *store = str_format("%s/" LARGE_FILES_DIRECTORY, worktree->git_dir);
    AUTO_BUF struct buf base_list;
    buf_init(&base_list, LIST_MAX);
    const char *filter = filters->data;
    int looks = 0;
    for (const char *at = changes->data; next_change(changes, &at, &change);) {
        if (strcmp(next_filter(filters, &filter), "lfs") != 0)
            continue;
        int status = list_base(worktree, base, &base_list, err);
        if (status < 0)
            return status;
        if (has_content(&base_list, change.id))
            continue;
        bool fine = looks++ < LOOKS_MAX && is_fine(worktree, store, &change);
        if (fine && !is_only_filtered(worktree, &change))
            continue;
        put_back(entries, &change);
        if (fine)
            continue;
        say(&change);
        *lost = true;
    }
    return 0;
}

bool large_files_are_kept(const char *git_dir)
{
    AUTO_FREE char *objects = str_format("%s/" LARGE_FILES_DIRECTORY "/objects", git_dir);
    return access(objects, F_OK) == 0;
}

bool large_files_are_whole(const char *git_dir, const char *commit, const char *base)
{
    struct err ignored;
    struct large_files files = {0};
    AUTO_FREE char *store = str_format("%s/" LARGE_FILES_DIRECTORY, git_dir);
    bool whole = (!large_files_are_kept(git_dir) && !large_files_are_used(git_dir, commit)) ||
                 (large_files_find(git_dir, commit, base, &files, &ignored) == 0 &&
                  !large_files_count_missing(store, &files));
    large_files_release(&files);
    return whole;
}

int large_files_settle(const struct worktree *worktree, const char *index, const char *base,
                       struct err *err)
{
    AUTO_BUF struct buf changes, filters, entries;
    bool lost = false;
    buf_init(&changes, LIST_MAX);
    buf_init(&filters, LIST_MAX);
    buf_init(&entries, LIST_MAX);
    if (!is_used(worktree, index))
        return 0;
    int status = list_changes(worktree, index, base, &changes, err);
    if (status == 0)
        status = read_filters(worktree, index, &changes, &filters, err);
    if (status == 0)
        status = choose(worktree, base, &changes, &filters, &entries, &lost, err);
    if (status < 0 || !entries.len)
        return status;
    struct worktree_command update;
    worktree_command_init(&update, worktree, worktree->dir, index);
    git_args(&update.git, "update-index", "-z", "--index-info", NULL);
    update.git.input = entries.data;
    update.git.input_len = entries.len;
    status = git_must(&update.git, err);
    return status < 0 ? status : lost;
}
