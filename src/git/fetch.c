#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "git/bundle.h"
#include "git/command.h"
#include "git/large_files.h"
#include "git/repository.h"
#include "git/verbs.h"

enum {
    FETCH_TIMEOUT_MS = 1800000,
    SHALLOW_FILE_MAX = 16 << 20,
    ROOTS_MAX = 1 << 20, /* bytes of ids of commits without parents */
};

/* The commits of the history of COMMIT that have, or seem to have, no parent. */
static int read_roots(const char *git_dir, const char *commit, struct buf *roots, struct err *err)
{
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "rev-list", "--max-parents=0", commit, NULL);
    git.out = roots;
    git.timeout_ms = FETCH_TIMEOUT_MS;
    return git_must(&git, err);
}

/* The contents of the file that lists a shallow clone's cut-off commits, a line each. */
static int read_shallow_file(const char *git_dir, struct buf *lines, struct err *err)
{
    AUTO_BUF struct buf path;
    buf_init(&path, 8192);
    struct git_command git;
    git_command_init(&git, git_dir, NULL);
    git_args(&git, "rev-parse", "--git-path", "shallow", NULL);
    git.out = &path;
    git.dir = git_dir;
    int status = git_must(&git, err);
    if (status < 0)
        return status;
    path.data[strcspn(path.data, "\n")] = '\0';
    AUTO_FD int dir = open(git_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return err_errno(err, "cannot open '%s'", git_dir);
    return io_read_file_at(dir, path.data, lines, err);
}

/* Name in BUNDLE the cut-off commits that its history ends at. */
static int add_shallow_commits(const char *git_dir, struct bundle *bundle, struct err *err)
{
    AUTO_BUF struct buf roots, lines;
    buf_init(&roots, ROOTS_MAX);
    buf_init(&lines, SHALLOW_FILE_MAX);
    int status = read_roots(git_dir, bundle->commit, &roots, err);
    if (status == 0)
        status = read_shallow_file(git_dir, &lines, err);
    char *rest = roots.data, *sha;
    while (status == 0 && (sha = strsep(&rest, "\n")) && *sha)
        if (object_id_valid(sha) && strstr(lines.data, sha))
            status = bundle_add_shallow(bundle, sha, err);
    return status;
}

/* Those that a person has of the files in Git LFS. What is not there has nothing to be fetched from. */
static int write_large_files(const struct repository *repository, const char *commit,
                             int64_t size_max, struct err *err)
{
    struct large_files files = {0};
    if (!size_max || !large_files_are_used(repository->git_dir, commit))
        return 0;
    AUTO_FREE char *store = repository_large_files(repository->git_dir, err);
    if (!store)
        return err->code;
    /* What cannot be counted does not come along. */
    struct err ignored;
    bool fit = large_files_find(repository->git_dir, commit, NULL, &files, &ignored) == 0 &&
               files.size <= size_max;
    int status = fit ? large_files_write(STDOUT_FILENO, store, &files, err) : 0;
    large_files_release(&files);
    return status < 0 ? err_context(err, "files in Git LFS") : io_sync(STDOUT_FILENO, err);
}

static int fetch_from(const struct repository *repository, const struct verb_request *request,
                      struct err *err)
{
    const char *commit = request->commit;
    struct repository_name name = {.name = commit};
    int status = repository_look_up(repository->git_dir, &name, 1, err);
    if (status < 0)
        return status;
    if (strcmp(name.sha, commit) != 0)
        return err_set(err, ERR_NOT_FOUND, "'%s' has no commit %s", repository->path, commit);
    struct bundle bundle = {0};
    memcpy(bundle.commit, commit, OBJECT_ID_SIZE);
    if (repository->shallow)
        status = add_shallow_commits(repository->git_dir, &bundle, err);
    if (status == 0)
        status = bundle_write(&bundle, BUNDLE_REF_BASE, repository->git_dir, STDOUT_FILENO,
                              FETCH_TIMEOUT_MS, err);
    bundle_release(&bundle);
    return status < 0 ? status
                      : write_large_files(repository, commit, request->large_files_max, err);
}

int git_fetch(const struct verb_request *request, struct err *err)
{
    struct repository repository;
    int status = repository_open(request->repo, &repository, err);
    if (status == 0)
        status = fetch_from(&repository, request, err);
    repository_release(&repository);
    return status;
}
