/*
 * `codex-git import`: the only place outside a sandbox where a sandbox's bytes meet git. It runs as
 * nobody, without network or state, in a scratch directory, and nothing that it reads is trusted:
 * git checks every object, we check what they say, and what leaves is written anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "git/bundle.h"
#include "git/command.h"
#include "git/large_files.h"
#include "git/repository.h"
#include "git/submodules.h"
#include "git/verbs.h"

enum import_fd {
    IMPORT_FD_BASE = 3,
    IMPORT_FD_WORK = 4,
    IMPORT_FD_CLEAN = 5,
    IMPORT_FD_DIFF = 6,
    ADOPT_FD_BASE = 6
};

enum { IMPORT_TIMEOUT_MS = 1800000, WORK_OBJECTS_MAX = 1000000, WORK_COMMITS_MAX = 10000 };

static const uint64_t work_size_max = 2ULL << 30;   /* bytes of the work bundle */
static const uint64_t work_memory_max = 4ULL << 30; /* address space of the git that unpacks it */
static const uint64_t diff_max = 32ULL << 20;       /* bytes of the diff */

static const char scratch_repository[] = "import.git";
static const char scratch_diff[] = "import.diff";

/* What the submitter's repository had: trusted as far as the submitter trusts it, so its old
 * mistakes are no reason to refuse the work. */
static int take_base(const struct verb_request *request, struct err *err)
{
    struct bundle bundle;
    const struct bundle_options options = {.timeout_ms = IMPORT_TIMEOUT_MS};
    int status = bundle_read(IMPORT_FD_BASE, BUNDLE_REF_BASE, &bundle, err);
    if (status == 0 && (strcmp(bundle.commit, request->base_commit) != 0 || *bundle.base))
        status = err_set(err, ERR_PROTOCOL, "it is not of commit %s", request->base_commit);
    if (status == 0)
        status = bundle_take(&bundle, IMPORT_FD_BASE, request->base_index, scratch_repository,
                             &options, err);
    bundle_release(&bundle);
    return status < 0 ? err_context(err, "base bundle") : 0;
}

static int check_work_size(const struct bundle *bundle, struct err *err)
{
    struct stat st;
    if (fstat(IMPORT_FD_WORK, &st) < 0)
        return err_errno(err, "cannot read it");
    if ((uint64_t)st.st_size > work_size_max)
        return err_set(err, ERR_LIMIT, "it is larger than %llu bytes",
                       (unsigned long long)work_size_max);
    if (bundle->objects > WORK_OBJECTS_MAX)
        return err_set(err, ERR_LIMIT, "it has more than %d objects", WORK_OBJECTS_MAX);
    return 0;
}

static int take_work(const struct verb_request *request, struct err *err)
{
    struct bundle bundle;
    const struct bundle_options options = {.strict = true,
                                           .size_max = work_size_max,
                                           .memory_max = work_memory_max,
                                           .timeout_ms = IMPORT_TIMEOUT_MS};
    int status = bundle_read(IMPORT_FD_WORK, BUNDLE_REF_WORK, &bundle, err);
    if (status == 0 && (strcmp(bundle.commit, request->commit) != 0 ||
                        strcmp(bundle.base, request->base_commit) != 0 || bundle.shallow_count))
        status = err_set(err, ERR_PROTOCOL, "it is not of commit %s on %s", request->commit,
                         request->base_commit);
    if (status == 0)
        status = check_work_size(&bundle, err);
    if (status == 0)
        status = bundle_unpack(&bundle, IMPORT_FD_WORK, scratch_repository, &options, err);
    bundle_release(&bundle);
    return status < 0 ? err_context(err, "work bundle") : 0;
}

static int check_commit_count(const struct verb_request *request, struct err *err)
{
    AUTO_BUF struct buf answer;
    buf_init(&answer, 64);
    int64_t count;
    struct git_command git;
    git_command_init(&git, scratch_repository, NULL);
    git_args(&git, "rev-list", "--count", request->commit, "--not", request->base_commit, NULL);
    git.out = &answer;
    int status = git_must(&git, err);
    if (status < 0)
        return status;
    answer.data[strcspn(answer.data, "\n")] = '\0';
    if (str_parse_int(answer.data, 0, INT64_MAX, &count) < 0)
        return err_set(err, ERR_PROTOCOL, "git rev-list: '%s' is no number", answer.data);
    if (count == 0)
        return err_set(err, ERR_REFUSED, "%s is the base commit itself", request->commit);
    if (count > WORK_COMMITS_MAX)
        return err_set(err, ERR_LIMIT, "more than %d commits", WORK_COMMITS_MAX);
    return 0;
}

/* The commit is what it was said to be, builds on the base, and is all there. */
static int check_history(const struct verb_request *request, struct err *err)
{
    struct repository_name names[] = {{.name = request->commit}, {.name = request->base_commit}};
    int status = repository_look_up(scratch_repository, names, 2, err);
    if (status < 0)
        return status;
    if (strcmp(names[0].sha, request->commit) != 0 ||
        strcmp(names[1].sha, request->base_commit) != 0)
        return err_set(err, ERR_PROTOCOL, "the bundles lack a commit that they name");
    status = repository_contains(scratch_repository, request->commit, request->base_commit, err);
    if (status <= 0)
        return status < 0 ? status
                          : err_set(err, ERR_REFUSED, "%s does not build on %s", request->commit,
                                    request->base_commit);
    status = check_commit_count(request, err);
    if (status == 0)
        status = repository_check_complete(scratch_repository, request->commit,
                                           request->base_commit, err);
    if (status == 0)
        status = submodules_check(scratch_repository, request->base_commit, request->commit, err);
    return status;
}

/* Of what the sandbox says are contents in Git LFS, those that its commits have pointers to. */
static int copy_large_files(const struct verb_request *request, struct err *err)
{
    struct large_files there = {0}, wanted = {0};
    int status = large_files_list(IMPORT_FD_WORK, &there, err);
    if (status == 0 && there.count)
        status = large_files_find(scratch_repository, request->commit, request->base_commit,
                                  &wanted, err);
    if (status == 0 && there.count)
        status = large_files_copy(IMPORT_FD_WORK, IMPORT_FD_CLEAN, &wanted, err);
    if (status == 0 && there.count)
        status = io_sync(IMPORT_FD_CLEAN, err);
    large_files_release(&there);
    large_files_release(&wanted);
    return status;
}

static int write_clean_bundle(const struct verb_request *request, struct err *err)
{
    struct bundle bundle = {0};
    memcpy(bundle.commit, request->commit, OBJECT_ID_SIZE);
    memcpy(bundle.base, request->base_commit, OBJECT_ID_SIZE);
    int status = bundle_write(&bundle, BUNDLE_REF_WORK, scratch_repository, IMPORT_FD_CLEAN,
                              IMPORT_TIMEOUT_MS, err);
    return status < 0 ? status : copy_large_files(request, err);
}

/* The difference between the two commits as git diff-tree prints it in FORM, into FD. */
static int print_diff(const struct verb_request *request, const char *form, int fd, struct err *err)
{
    struct git_command git;
    git_command_init(&git, scratch_repository, NULL);
    git_setting(&git, "core.quotePath=true");
    git_setting(&git, "diff.renameLimit=4000");
    git_args(&git, "diff-tree", "-r", "--find-renames", "--no-ext-diff", "--no-textconv",
             "--no-color", "--full-index", form, request->base_commit, request->commit, NULL);
    git.out_fd = fd;
    git.file_max = diff_max;
    git.timeout_ms = IMPORT_TIMEOUT_MS;
    return git_must(&git, err);
}

/* The diff goes to a scratch file first, whose size the kernel bounds. */
static int write_diff(const struct verb_request *request, struct err *err)
{
    AUTO_FD int fd = open(scratch_diff, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || unlink(scratch_diff) < 0)
        return err_errno(err, "cannot create '%s'", scratch_diff);
    int status = print_diff(request, "--binary", fd, err);
    if (status == ERR_LIMIT) {
        static const char note[] = "# The diff is larger than 32 MiB. In its place, a summary:\n";
        if (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0)
            return err_errno(err, "cannot rewrite the diff");
        status = io_write_all(fd, note, sizeof note - 1, err);
        if (status == 0)
            status = print_diff(request, "--stat", fd, err);
    }
    if (status == 0)
        status = io_copy(fd, 0, -1, IMPORT_FD_DIFF, err);
    return status < 0 ? err_context(err, "diff") : io_sync(IMPORT_FD_DIFF, err);
}

static int write_base_bundle(const struct verb_request *request, struct err *err)
{
    struct bundle bundle = {0};
    memcpy(bundle.commit, request->commit, OBJECT_ID_SIZE);
    int status = bundle_write(&bundle, BUNDLE_REF_BASE, scratch_repository, ADOPT_FD_BASE,
                              IMPORT_TIMEOUT_MS, err);
    /* Most submodules are where they were in the commit that the remote has. */
    if (status == 0)
        status = parts_copy(IMPORT_FD_BASE, ADOPT_FD_BASE, err);
    return status < 0 ? status : io_sync(ADOPT_FD_BASE, err);
}

/* Take what came, and write what was checked: by WRITE, beside the clean bundle. */
static int take_and_write(const struct verb_request *request,
                          int (*write)(const struct verb_request *request, struct err *err),
                          struct err *err)
{
    int status = io_remove_tree_at(AT_FDCWD, scratch_repository, err);
    if (status == 0)
        status = repository_init(scratch_repository, err);
    if (status == 0)
        status = take_base(request, err);
    if (status == 0)
        status = take_work(request, err);
    if (status == 0)
        status = check_history(request, err);
    if (status == 0)
        status = write_clean_bundle(request, err);
    if (status == 0)
        status = write(request, err);
    struct err ignored;
    io_remove_tree_at(AT_FDCWD, scratch_repository, status < 0 ? &ignored : err);
    return status;
}

int git_import(const struct verb_request *request, struct err *err)
{
    return take_and_write(request, write_diff, err);
}

int git_adopt(const struct verb_request *request, struct err *err)
{
    return take_and_write(request, write_base_bundle, err);
}
