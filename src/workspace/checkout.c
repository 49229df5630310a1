#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/object_id.h"
#include "base/refname.h"
#include "base/str.h"
#include "git/bundle.h"
#include "git/command.h"
#include "task/exit.h"
#include "workspace/environment_file.h"
#include "workspace/step.h"
#include "workspace/steps.h"
#include "workspace/unfetched.h"

enum { CHECKOUT_TIMEOUT_MS = 1800000 };

/* The two bundles; what the workspace is to be at. */
struct source {
    struct bundle base, work;
    const char *commit;
};

static int read_source(const struct step *step, struct source *source, struct err *err)
{
    int status = bundle_read(STEP_FD_BASE, BUNDLE_REF_BASE, &source->base, err);
    if (status == 0 && (strcmp(source->base.commit, step->base_commit) != 0 || *source->base.base))
        status = err_set(err, ERR_PROTOCOL, "it is not of commit %s", step->base_commit);
    if (status < 0)
        return err_context(err, "base bundle");
    source->commit = source->base.commit;
    if (!step_has_input(step, STEP_FD_DATA))
        return 0;
    status = bundle_read(STEP_FD_DATA, BUNDLE_REF_WORK, &source->work, err);
    if (status == 0 && strcmp(source->work.base, step->base_commit) != 0)
        status = err_set(err, ERR_PROTOCOL, "it does not build on commit %s", step->base_commit);
    if (status < 0)
        return err_context(err, "work bundle");
    source->commit = source->work.commit;
    return 0;
}

/* 1 when the workspace is there: a directory with something in it. It appears whole, by a
 * rename. */
static int is_there(const struct step *step, struct err *err)
{
    AUTO_DIR DIR *dir = opendir(step->workdir);
    if (!dir && errno == ENOENT)
        return 0;
    if (!dir)
        return err_errno(err, "cannot open '%s'", step->workdir);
    struct dirent *entry;
    while ((entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            return 1;
    return 0;
}

/* `codex-git resolve` gives branches by their short names; all else starts with refs/ or is an
 * id. */
static bool base_is_branch(const char *base)
{
    struct err ignored;
    return !str_starts_with(base, "refs/") && !object_id_valid(base) &&
           refname_check_branch(base, &ignored) == 0;
}

static int make_repository(const struct step *step, const char *dir, struct err *err)
{
    AUTO_FREE char *branch =
        str_format("--initial-branch=%s", base_is_branch(step->base) ? step->base : "main");
    struct git_command git;
    git_command_init(&git, NULL, NULL);
    git_args(&git, "init", "--quiet", "--object-format=sha1", branch, dir, NULL);
    return git_must(&git, err);
}

static int take_objects(const struct source *source, const char *git_dir, struct err *err)
{
    const struct bundle_options options = {.timeout_ms = CHECKOUT_TIMEOUT_MS};
    int status = bundle_unpack(&source->base, STEP_FD_BASE, git_dir, &options, err);
    if (status < 0)
        return err_context(err, "base bundle");
    if (*source->work.commit)
        status = bundle_unpack(&source->work, STEP_FD_DATA, git_dir, &options, err);
    return status < 0 ? err_context(err, "work bundle") : 0;
}

/* HEAD is a branch that is not born yet, or becomes the commit itself. */
static int set_head(const struct step *step, const struct source *source, const char *git_dir,
                    struct err *err)
{
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "update-ref", "-m", "checkout", NULL);
    if (!base_is_branch(step->base))
        git_args(&git, "--no-deref", NULL);
    git_args(&git, "HEAD", source->commit, NULL);
    git_env(&git, "GIT_COMMITTER_NAME=Codex");
    git_env(&git, "GIT_COMMITTER_EMAIL=codex@localhost");
    return git_must(&git, err);
}

static int write_files(const char *dir, const char *git_dir, struct err *err)
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

/* The agent's own commits need a name; appended by hand, which spares two runs of git config. */
static int write_identity(const struct step *step, const char *git_dir, struct err *err)
{
    AUTO_BUF struct buf text;
    buf_init(&text, 8192);
    buf_append_str(&text, "[user]\n\tname = ");
    append_value(&text, step->author_name);
    buf_append_str(&text, "\temail = ");
    append_value(&text, step->author_email);
    AUTO_FREE char *path = str_format("%s/config", git_dir);
    AUTO_FD int fd = open(path, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, "cannot open '%s'", path);
    return io_write_all(fd, text.data, text.len, err);
}

/* Everything in DIR, which then takes its place. */
static int build(const struct step *step, const struct source *source, const char *dir,
                 struct err *err)
{
    AUTO_FREE char *git_dir = str_format("%s/.git", dir);
    int status = make_repository(step, dir, err);
    if (status == 0)
        status = take_objects(source, git_dir, err);
    if (status == 0)
        status = set_head(step, source, git_dir, err);
    if (status == 0)
        status = write_identity(step, git_dir, err);
    if (status == 0)
        status = write_files(dir, git_dir, err);
    if (status == 0)
        unfetched_say(git_dir);
    if (status == 0 && rename(dir, step->workdir) < 0)
        status = err_errno(err, "cannot rename '%s' to '%s'", dir, step->workdir);
    return status;
}

static int make_workspace(const struct step *step, const struct source *source, struct err *err)
{
    AUTO_FREE char *parent = step_parent(step);
    AUTO_FREE char *dir = str_format("%s/.codex-checkout", parent);
    int status = io_remove_tree_at(AT_FDCWD, dir, err);
    if (status == 0)
        status = build(step, source, dir, err);
    struct err ignored;
    if (status < 0)
        io_remove_tree_at(AT_FDCWD, dir, &ignored);
    return status;
}

/* The base is checked out, by an earlier step of ours: the work over it. */
static int move_on(const struct step *step, const struct source *source, struct err *err)
{
    AUTO_FREE char *git_dir = str_format("%s/.git", step->workdir);
    const struct bundle_options options = {.timeout_ms = CHECKOUT_TIMEOUT_MS};
    int status = bundle_unpack(&source->work, STEP_FD_DATA, git_dir, &options, err);
    if (status < 0)
        return err_context(err, "work bundle");
    status = set_head(step, source, git_dir, err);
    return status < 0 ? status : write_files(step->workdir, git_dir, err);
}

/* What the base, which nobody has touched yet, says of the internet. */
static int append_internet(const struct step *step, struct buf *result, struct err *err)
{
    struct environment_file file;
    int status = environment_file_read(step->workdir, &file, err);
    if (status >= 0) {
        buf_append_str(result, ",\"internet\":");
        environment_file_internet(&file, result);
        environment_file_say(&file);
    }
    environment_file_release(&file);
    return status < 0 ? status : 0;
}

static int write_result(const struct step *step, const char *commit, bool is_base, struct err *err)
{
    AUTO_BUF struct buf result;
    buf_init(&result, 256 + ENVIRONMENT_INTERNET_MAX);
    buf_appendf(&result, "{\"commit\":\"%s\"", commit);
    int status = is_base ? append_internet(step, &result, err) : 0;
    buf_append_char(&result, '}');
    return status < 0 ? status : step_write_result(&result, err);
}

static int checkout(struct step *step, struct err *err)
{
    struct source source = {0};
    umask(022);
    int status = step_drop(err);
    if (status == 0)
        status = read_source(step, &source, err);
    if (status == 0)
        status = is_there(step, err);
    bool is_base = status == 0 && !*source.work.commit;
    if (status == 0)
        status = make_workspace(step, &source, err);
    else if (status > 0 && *source.work.commit)
        status = move_on(step, &source, err);
    if (status >= 0)
        status = write_result(step, source.commit, is_base, err);
    bundle_release(&source.base);
    bundle_release(&source.work);
    return status < 0 ? status : STEP_EXIT_DONE;
}

int checkout_main(int argc, char **argv)
{
    return step_main(argc, argv, checkout, STEP_EXIT_FAILED);
}
