#include "git/mirror.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "git/repository.h"

#define COMMITS "refs/codex/commits/"
#define LOOKS   "refs/codex/looks/"

enum { BROKEN_PACK_S = 3600 }; /* whoever is silent for so long has been ended */

/* git leaves the pack of a fetch that broke off or was ended, for a gc that is never run here. One that
 * grows is younger. */
static void remove_broken_packs(const char *mirror)
{
    AUTO_FREE char *path = str_format("%s/objects/pack", mirror);
    AUTO_DIR DIR *packs = opendir(path);
    time_t now = time(NULL);
    struct stat st;
    for (struct dirent *entry; packs && (entry = readdir(packs));)
        if (str_starts_with(entry->d_name, "tmp_") &&
            fstatat(dirfd(packs), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            now - st.st_mtime > BROKEN_PACK_S)
            unlinkat(dirfd(packs), entry->d_name, 0);
}

int mirror_open(struct remote *remote, struct err *err)
{
    struct stat st;
    AUTO_FREE char *head = str_format("%s/HEAD", remote->mirror);
    if (lstat(head, &st) < 0)
        return repository_init(remote->mirror, err);
    remove_broken_packs(remote->mirror);
    return 0;
}

int mirror_has(struct remote *remote, const char *commit, struct err *err)
{
    AUTO_FREE char *ref = str_format(COMMITS "%s", commit);
    struct repository_name name = {.name = ref};
    int status = repository_look_up(remote->mirror, &name, 1, err);
    return status < 0 ? status : !strcmp(name.sha, commit);
}

/* Fetch what SPECS (ending with NULL) say. */
static int fetch(struct remote *remote, const char *const *specs, struct err *err)
{
    struct git_command git;
    remote_command(remote, &git, remote->mirror);
    git_args(&git, "fetch", "--progress", "--no-tags", "--no-write-fetch-head", "--no-auto-gc",
             "--no-recurse-submodules", "--no-show-forced-updates", remote->url.text, NULL);
    for (; *specs; specs++)
        git_args(&git, *specs, NULL);
    return remote_run(remote, &git, err);
}

/* A server that hands out only what its refs name: take all of them, and see. */
static int fetch_by_refs(struct remote *remote, const char *commit, struct err *err)
{
    static const char *const specs[] = {"+refs/heads/*:refs/codex/heads/*",
                                        "+refs/tags/*:refs/codex/tags/*", NULL};
    AUTO_FREE char *ref = str_format(COMMITS "%s", commit);
    AUTO_FREE char *contains = str_format("--contains=%s", commit);
    AUTO_BUF struct buf answer;
    buf_init(&answer, 4096);
    struct repository_name name = {.name = commit};
    int status = fetch(remote, specs, err);
    if (status == 0)
        status = repository_look_up(remote->mirror, &name, 1, err);
    if (status < 0)
        return status;
    struct git_command git;
    git_command_init(&git, remote->mirror, NULL);
    git_args(&git, "for-each-ref", "--count=1", contains, "refs/codex/heads", "refs/codex/tags",
             NULL);
    git.out = &answer;
    status = *name.sha ? git_must(&git, err) : 0;
    if (status < 0)
        return status;
    if (!answer.len)
        return err_set(err, ERR_NOT_FOUND, "'%s' no longer has commit %s", remote->url.text,
                       commit);
    git_command_init(&git, remote->mirror, NULL);
    git_args(&git, "update-ref", "--no-deref", ref, commit, NULL);
    return git_must(&git, err);
}

int mirror_fetch(struct remote *remote, const char *commit, struct err *err)
{
    int status = mirror_open(remote, err);
    if (status == 0)
        status = mirror_has(remote, commit, err);
    if (status != 0)
        return status < 0 ? status : 0;
    AUTO_FREE char *spec = str_format("+%s:" COMMITS "%s", commit, commit);
    const char *const specs[] = {spec, NULL};
    status = fetch(remote, specs, err);
    if (status == ERR_NOT_FOUND)
        status = fetch_by_refs(remote, commit, err);
    if (status < 0)
        return status;
    /* What was fetched may be a tag or a file of that name. */
    status = mirror_has(remote, commit, err);
    return status > 0 ? 0
           : status == 0
               ? err_set(err, ERR_NOT_FOUND, "'%s' has no commit %s", remote->url.text, commit)
               : status;
}

int mirror_look(struct remote *remote, const char *branch, const char *commit, struct err *err)
{
    AUTO_FREE char *ref = str_format(LOOKS "%s", commit);
    AUTO_FREE char *spec = str_format("+refs/heads/%s:%s", branch, ref);
    const char *const specs[] = {spec, NULL};
    struct repository_name names[] = {{.name = commit}, {.name = ref}};
    int status = mirror_open(remote, err);
    if (status == 0)
        status = fetch(remote, specs, err);
    if (status == 0)
        status = repository_look_up(remote->mirror, names, 2, err);
    /* What the mirror does not have, the branch does not contain. */
    if (status < 0 || !*names[0].sha || !*names[1].sha)
        return status;
    return repository_contains(remote->mirror, names[1].sha, names[0].sha, err);
}
