/*
 * `codex-git merge`: would the work go together with what its base branch has got meanwhile? Only
 * tried: no commit is made. It runs where import does, as nobody and without a network, since
 * what it merges is a sandbox's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "git/bundle.h"
#include "git/command.h"
#include "git/repository.h"
#include "git/verbs.h"

enum { MERGE_FD_BASE = 3, MERGE_FD_WORK = 4, MERGE_FD_MOVED = 5 };

enum { MERGE_TIMEOUT_MS = 60000 };

static const uint64_t file_size_max = 2ULL << 30;
static const uint64_t memory_size_max = 4ULL << 30; /* address space of git */

static const char scratch_repository[] = "merge.git";

/* The bundle FD into the scratch repository, by its INDEX where there is one (else 0); its commit into
 * SHA. */
static int take(int fd, const char *ref, int index, bool strict, char sha[OBJECT_ID_SIZE],
                struct err *err)
{
    const struct bundle_options options = {.strict = strict,
                                           .size_max = file_size_max,
                                           .memory_max = memory_size_max,
                                           .timeout_ms = MERGE_TIMEOUT_MS};
    struct bundle bundle;
    int status = bundle_read(fd, ref, &bundle, err);
    if (status == 0)
        status = bundle_take(&bundle, fd, index, scratch_repository, &options, err);
    if (status == 0)
        memcpy(sha, bundle.commit, OBJECT_ID_SIZE);
    bundle_release(&bundle);
    return status < 0 ? err_context(err, "%s", ref) : 0;
}

/* git merge-tree says 0 for a clean merge, 1 for one with conflicts. */
static int try_merge(const char *tip, const char *commit, struct err *err)
{
    struct git_command git;
    git_command_init(&git, scratch_repository, NULL);
    git_args(&git, "merge-tree", "--write-tree", "--no-messages", "--name-only", tip, commit, NULL);
    git.timeout_ms = MERGE_TIMEOUT_MS;
    git.file_max = file_size_max;
    git.memory_max = memory_size_max;
    int code = git_run(&git, err);
    if (code != 0 && code != 1)
        return code < 0 ? code : -EIO;
    return printf("conflicts %s\n", code ? "yes" : "no") < 0 ? err_errno(err, "cannot write") : 0;
}

static int merge(const struct verb_request *request, struct err *err)
{
    char base[OBJECT_ID_SIZE], work[OBJECT_ID_SIZE], tip[OBJECT_ID_SIZE];
    int status = take(MERGE_FD_BASE, BUNDLE_REF_BASE, request->base_index, false, base, err);
    if (status == 0)
        status = take(MERGE_FD_WORK, BUNDLE_REF_WORK, 0, true, work, err);
    if (status == 0)
        status = take(MERGE_FD_MOVED, BUNDLE_REF_MOVED, 0, false, tip, err);
    if (status == 0 && strcmp(work, request->commit) != 0)
        status =
            err_set(err, ERR_PROTOCOL, "the bundle holds something else than %s", request->commit);
    return status < 0 ? status : try_merge(tip, work, err);
}

int git_merge(const struct verb_request *request, struct err *err)
{
    int status = io_remove_tree_at(AT_FDCWD, scratch_repository, err);
    if (status == 0)
        status = repository_init(scratch_repository, err);
    if (status == 0)
        status = merge(request, err);
    struct err ignored;
    io_remove_tree_at(AT_FDCWD, scratch_repository, &ignored);
    return status;
}
