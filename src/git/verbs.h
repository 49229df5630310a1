/*
 * What codex-git does, a verb a file. Each is a process of its own with the privileges of its work;
 * see "codex-git" in docs/protocols.md.
 */
#ifndef CODEX_GIT_VERBS_H
#define CODEX_GIT_VERBS_H

#include <stdint.h>

#include "base/err.h"

struct repo_url;

/*
 * Whether the policy INTERNET (`internet` of gateway.json) lets one reach URL, whose name is looked
 * up now: 0, and in *PIN the addresses that were found, "host:port:address,…", which the caller
 * frees; NULL when the address is in URL. ERR_REFUSED with the reason.
 */
typedef int verb_reach_fn(const char *internet, const struct repo_url *url, char **pin,
                          struct err *err);

struct verb_request {
    const char *repo;        /* path; NULL: the current directory */
    const char *base;        /* a ref as a person wrote it; NULL: HEAD's branch */
    const char *branch;      /* to create */
    const char *commit;      /* 40 hexadecimal digits */
    const char *base_commit; /* 40 hexadecimal digits */
    int base_index; /* import, merge: the descriptor with the index of the base bundle; 0: none */
    /* remote repositories */
    const char *mirror;      /* path of the directory for its mirror */
    int64_t timeout_ms;      /* for all of it */
    int64_t stall_ms;        /* without anything from the remote */
    const char *part;        /* fetch: "base", or "module": its bundle comes behind what there is */
    int64_t large_files_max; /* fetch: bytes of files in Git LFS that come along; 0: none do */
    verb_reach_fn *reach;
};

/*
 * Each returns 0, or a negative code with its line in ERR:
 * ERR_USAGE, ERR_NOT_FOUND (repository, ref or commit), ERR_CONFLICT (push: the branch exists and
 * is another commit), everything else: refused or failed. Those of a remote repository also
 * -EACCES and -EHOSTUNREACH, see git/remote.h.
 */
int git_resolve(const struct verb_request *request, struct err *err);
int git_fetch(const struct verb_request *request, struct err *err);
int git_index(const struct verb_request *request, struct err *err);
int git_import(const struct verb_request *request, struct err *err);
int git_adopt(const struct verb_request *request, struct err *err);
int git_push(const struct verb_request *request, struct err *err);

/* 1 when the base contains the commit, 0 when not, negative as above. */
int git_merged(const struct verb_request *request, struct err *err);

/* What the branch BASE has beyond BASE_COMMIT: its tip and how many commits, printed; and them as a
 * bundle, when there are any. */
int git_moved(const struct verb_request *request, struct err *err);

/* Whether COMMIT and what git_moved() found can be merged, printed. */
int git_merge(const struct verb_request *request, struct err *err);

/* The same where REPO is the address of a remote repository. */
int git_remote_resolve(const struct verb_request *request, struct err *err);
int git_remote_fetch(const struct verb_request *request, struct err *err);
int git_remote_push(const struct verb_request *request, struct err *err);
int git_remote_merged(const struct verb_request *request, struct err *err);
int git_remote_moved(const struct verb_request *request, struct err *err);

/*
 * What a person means by BASE in the repository GIT_DIR: a branch first, then a tag, a remote's
 * branch, any other ref, and last an expression such as HEAD~2. NAME (the caller frees it): a
 * branch's short name; another ref's full name; an expression's commit. So whatever starts with
 * "refs/" or is an object id is no branch.
 */
int git_resolve_base(const char *git_dir, const char *base, char **name,
                     char sha[/* OBJECT_ID_SIZE */], struct err *err);

#endif
