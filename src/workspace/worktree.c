#include "workspace/worktree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "workspace/huge_files.h"
#include "workspace/large_files.h"
#include "workspace/modules.h"
#include "workspace/nested.h"

enum { STAGE_TIMEOUT_MS = 900000 };

static const off_t index_max = 1LL << 30; /* bytes of an index that is copied */

static const char index_name[] = "index";
static const char excludes_name[] = "excludes";

/* gitignore(5); below everything that the repository says itself. */
static const char excludes[] = "__pycache__/\n*.pyc\n.pytest_cache/\n.mypy_cache/\n.ruff_cache/\n"
                               ".tox/\n.venv/\nnode_modules/\n.DS_Store\n";

void worktree_command_init(struct worktree_command *command, const struct worktree *worktree,
                           const char *dir, const char *name)
{
    git_command_init(&command->git, worktree->git_dir, dir);
    git_setting(&command->git, "core.fsync=none");
    git_setting(&command->git, "core.safecrlf=false");
    git_setting(&command->git, "core.quotePath=false");
    git_setting(&command->git, "core.sparseCheckout=false");
    git_setting(&command->git, "submodule.recurse=false");
    git_setting(&command->git, "advice.addEmbeddedRepo=false");
    snprintf(command->index, sizeof command->index, "GIT_INDEX_FILE=%s/%s", worktree->scratch,
             name);
    git_env(&command->git, command->index);
    snprintf(command->excludes, sizeof command->excludes, "core.excludesFile=%s/%s",
             worktree->scratch, excludes_name);
    git_setting(&command->git, command->excludes);
    command->git.dir = dir;
    command->git.timeout_ms = STAGE_TIMEOUT_MS;
}

int worktree_stage(const struct worktree *worktree, const char *dir, const char *name,
                   struct err *err)
{
    AUTO_BUF struct buf paths; /* all but what is too large */
    buf_init(&paths, HUGE_FILES_LIST_MAX);
    buf_append(&paths, ".", sizeof ".");
    int status = huge_files_exclude(dir, &paths, err);
    if (status < 0)
        return status;
    struct worktree_command add;
    worktree_command_init(&add, worktree, dir, name);
    git_args(&add.git, "add", "--all", "--ignore-errors", "--pathspec-from-file=-",
             "--pathspec-file-nul", NULL);
    add.git.input = paths.data;
    add.git.input_len = paths.len;
    int code = git_run(&add.git, err);
    return code > 1 ? -EIO : code;
}

int worktree_write_tree(const struct worktree *worktree, const char *name, char *tree,
                        struct err *err)
{
    struct worktree_command write;
    worktree_command_init(&write, worktree, worktree->dir, name);
    git_args(&write.git, "write-tree", NULL);
    return git_read_id(&write.git, tree, err);
}

/* With the time of the original: git compares files' times with it to know which it must look at
 * again ("racy git"). */
static bool copy_index(const char *from, const char *to)
{
    struct stat st;
    AUTO_FD int in = open(from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (in < 0 || fstat(in, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > index_max)
        return false;
    AUTO_FD int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    off_t done = 0;
    while (out >= 0 && done < st.st_size)
        if (sendfile(out, in, &done, (size_t)(st.st_size - done)) <= 0)
            return false;
    const struct timespec times[] = {st.st_atim, st.st_mtim};
    return out >= 0 && futimens(out, times) == 0;
}

static int start_from(const struct worktree *worktree, const char *start, struct err *err)
{
    struct worktree_command read;
    worktree_command_init(&read, worktree, worktree->dir, index_name);
    git_args(&read.git, "read-tree", start, NULL);
    return git_must(&read.git, err);
}

/* Stage everything, from the agent's index if that can be used. Returns as worktree_stage(). */
static int stage_all(const struct worktree *worktree, const char *index, const char *start,
                     struct err *err)
{
    AUTO_FREE char *ours = str_format("%s/%s", worktree->scratch, index_name);
    int status = -ENOENT;
    if (index && copy_index(index, ours))
        status = worktree_stage(worktree, worktree->dir, index_name, err);
    if (status >= 0)
        return status;
    unlink(ours);
    status = start_from(worktree, start, err);
    return status < 0 ? status : worktree_stage(worktree, worktree->dir, index_name, err);
}

static int write_excludes(const struct worktree *worktree, struct err *err)
{
    AUTO_FREE char *path = str_format("%s/%s", worktree->scratch, excludes_name);
    AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, "cannot create '%s'", path);
    return io_write_all(fd, excludes, sizeof excludes - 1, err);
}

/* What has to be left out is said, and is no reason to lose the rest. */
static void complain(const struct err *err)
{
    struct err line = *err;
    err_context(&line, "not everything could be added");
    err_print(&line, "codex-agent commit");
}

int worktree_write(const struct worktree *worktree, const char *index, const char *start,
                   const char *base, char *tree, struct err *err)
{
    int incomplete = write_excludes(worktree, err);
    if (incomplete == 0)
        incomplete = stage_all(worktree, index, start, err);
    if (incomplete < 0)
        return incomplete;
    if (incomplete)
        complain(err);
    if (nested_include(worktree, index_name, base, incomplete, err) < 0)
        complain(err);
    if (modules_settle(worktree, index_name, base, err) < 0)
        complain(err);
    int large = large_files_settle(worktree, index_name, base, err);
    if (large < 0)
        complain(err);
    int status = worktree_write_tree(worktree, index_name, tree, err);
    return status < 0 ? status : large > 0;
}

/* gitignore(5): anchored, and nothing in it a pattern. */
static void append_pattern(const char *path, struct buf *out)
{
    buf_append_char(out, '/');
    for (; *path; path++) {
        if (strchr("*?[]\\! #", *path))
            buf_append_char(out, '\\');
        buf_append_char(out, *path);
    }
    buf_append_char(out, '\n');
}

int worktree_exclude(const char *git_dir, const char *names, size_t count, struct err *err)
{
    AUTO_BUF struct buf text;
    buf_init(&text, 2 * count + 4096);
    for (const char *name = names; name < names + count; name += strlen(name) + 1)
        if (*name && !strchr(name, '\n')) /* which a pattern cannot have */
            append_pattern(name, &text);
    if (!text.len)
        return 0;
    AUTO_FREE char *info = str_format("%s/info", git_dir);
    AUTO_FREE char *path = str_format("%s/exclude", info);
    if (mkdir(info, 0755) < 0 && errno != EEXIST)
        return err_errno(err, "cannot create '%s'", info);
    AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0644);
    return fd < 0 ? err_errno(err, "cannot open '%s'", path)
                  : io_write_all(fd, text.data, text.len, err);
}
