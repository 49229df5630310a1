#include "workspace/fresh.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/process.h"
#include "base/str.h"
#include "git/command.h"
#include "git/large_files.h"

enum { CHECKOUT_TIMEOUT_MS = 1800000 };

int fresh_init(const char *dir, const char *branch, struct err *err)
{
    AUTO_FREE char *initial = str_format("--initial-branch=%s", branch);
    struct git_command git;
    git_command_init(&git, NULL, NULL);
    git_args(&git, "init", "--quiet", "--object-format=sha1", initial, dir, NULL);
    return git_must(&git, err);
}

int fresh_head(const char *git_dir, const char *commit, bool branch, struct err *err)
{
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "update-ref", "-m", "checkout", NULL);
    if (!branch)
        git_args(&git, "--no-deref", NULL);
    git_args(&git, "HEAD", commit, NULL);
    git_env(&git, "GIT_COMMITTER_NAME=Codex");
    git_env(&git, "GIT_COMMITTER_EMAIL=codex@localhost");
    return git_must(&git, err);
}

int fresh_files(const char *dir, const char *git_dir, struct err *err)
{
    AUTO_FREE char *index = str_format("GIT_INDEX_FILE=%s/index", git_dir);
    struct git_command git;
    git_command_init(&git, git_dir, dir);
    git_env(&git, index);
    git_setting(&git, "core.fsync=none");
    git_args(&git, "read-tree", "--reset", "-u", "HEAD", NULL);
    git.timeout_ms = CHECKOUT_TIMEOUT_MS;
    git.dir = dir;
    return git_must(&git, err);
}

/* A quoted value, git-config(1) "Syntax". */
static void append_value(struct buf *out, const char *value)
{
    buf_append_char(out, '"');
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            buf_append_char(out, '\\');
        buf_append_char(out, *value);
    }
    buf_append_str(out, "\"\n");
}

/* By hand, which spares a run of git config for each. */
static int append_settings(const char *git_dir, const struct buf *text, struct err *err)
{
    AUTO_FREE char *path = str_format("%s/config", git_dir);
    AUTO_FD int fd = open(path, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, "cannot open '%s'", path);
    return io_write_all(fd, text->data, text->len, err);
}

/* The agent's own commits need a name. */
int fresh_identity(const struct step *step, const char *git_dir, struct err *err)
{
    AUTO_BUF struct buf text;
    buf_init(&text, 8192);
    buf_append_str(&text, "[user]\n\tname = ");
    append_value(&text, step->author_name);
    buf_append_str(&text, "\temail = ");
    append_value(&text, step->author_email);
    return append_settings(git_dir, &text, err);
}

int fresh_large_files(const char *git_dir, int fd, struct err *err)
{
    AUTO_BUF struct buf text;
    buf_init(&text, 8192);
    /* An archived workspace may be used where we are not, by whom git-lfs serves. */
    AUTO_FREE char *filter =
        str_format("if test -x '%s/codex-agent'; then exec '%s/codex-agent' large-files; "
                   "else exec git-lfs filter-process; fi",
                   process_program_dir(), process_program_dir());
    buf_append_str(&text, "[filter \"lfs\"]\n\tprocess = ");
    append_value(&text, filter);
    fresh_take_large_files(git_dir, fd);
    return append_settings(git_dir, &text, err);
}

void fresh_take_large_files(const char *git_dir, int fd)
{
    struct err line;
    AUTO_FREE char *store = str_format("%s/" LARGE_FILES_DIRECTORY, git_dir);
    if (large_files_take(fd, store, false, &line) == 0)
        return;
    err_context(&line, "files in Git LFS were left out");
    err_print(&line, "codex-agent");
}
