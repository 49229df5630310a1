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
#include "base/refname.h"
#include "base/str.h"
#include "git/bundle.h"
#include "task/exit.h"
#include "workspace/environment_file.h"
#include "workspace/fresh.h"
#include "workspace/modules.h"
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

/* Something of that name can be created. */
static bool base_is_branch(const char *base)
{
    struct err ignored;
    return refname_is_branch(base) && refname_check_branch(base, &ignored) == 0;
}

static int make_repository(const struct step *step, const char *dir, struct err *err)
{
    return fresh_init(dir, base_is_branch(step->base) ? step->base : "main", err);
}

static int take_work(const struct source *source, const char *git_dir, struct err *err)
{
    const struct bundle_options options = {.timeout_ms = CHECKOUT_TIMEOUT_MS};
    int status = bundle_unpack(&source->work, STEP_FD_DATA, git_dir, &options, err);
    if (status < 0)
        return err_context(err, "work bundle");
    fresh_take_large_files(git_dir, STEP_FD_DATA);
    return 0;
}

static int take_objects(const struct source *source, const char *git_dir, struct err *err)
{
    const struct bundle_options options = {.timeout_ms = CHECKOUT_TIMEOUT_MS};
    int status = bundle_unpack(&source->base, STEP_FD_BASE, git_dir, &options, err);
    if (status == 0)
        status = fresh_large_files(git_dir, STEP_FD_BASE, err);
    if (status < 0)
        return err_context(err, "base bundle");
    return *source->work.commit ? take_work(source, git_dir, err) : 0;
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
        status = fresh_head(git_dir, source->commit, base_is_branch(step->base), err);
    if (status == 0)
        status = fresh_identity(step, git_dir, err);
    if (status == 0)
        status = fresh_files(dir, git_dir, err);
    if (status == 0) {
        modules_check_out(step, dir, STEP_FD_BASE, true);
        unfetched_say(git_dir, dir);
    }
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
    int status = take_work(source, git_dir, err);
    if (status < 0)
        return status;
    status = fresh_head(git_dir, source->commit, base_is_branch(step->base), err);
    if (status == 0)
        status = fresh_files(step->workdir, git_dir, err);
    if (status == 0)
        modules_check_out(step, step->workdir, STEP_FD_BASE, false);
    return status;
}

/* What the base, which nobody has touched yet, says of the internet, of limits and of the user: 1 when
 * that shall be root. */
static int append_environment(const struct step *step, struct buf *result, struct err *err)
{
    struct environment_file file;
    int status = environment_file_read(step->workdir, &file, err);
    if (status >= 0) {
        buf_append_str(result, ",\"internet\":");
        environment_file_internet(&file, result);
        buf_append_str(result, ",\"limits\":");
        task_limits_to_json(&file.limits, result);
        environment_file_say(&file);
    }
    bool as_root = file.as_root;
    environment_file_release(&file);
    return status < 0 ? status : as_root;
}

/* Returns the step's exit status. */
static int write_result(const struct step *step, const char *commit, bool is_base, struct err *err)
{
    AUTO_BUF struct buf result;
    buf_init(&result, 512 + ENVIRONMENT_INTERNET_MAX);
    buf_appendf(&result, "{\"commit\":\"%s\"", commit);
    int status = is_base ? append_environment(step, &result, err) : 0;
    bool as_root = status > 0;
    buf_append_char(&result, '}');
    if (status >= 0)
        status = step_write_result(&result, err);
    return status < 0 ? status : as_root ? STEP_EXIT_AS_ROOT : STEP_EXIT_DONE;
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
    return status;
}

int checkout_main(int argc, char **argv)
{
    return step_main(argc, argv, checkout, STEP_EXIT_FAILED);
}
