/* Which repository a task is about: the one that was named, or the checkout one stands in. */
#ifndef CODEX_CLI_CHECKOUT_H
#define CODEX_CLI_CHECKOUT_H

#include <stdbool.h>

#include "base/err.h"

struct checkout {
    char *repo;    /* an absolute path, or a remote address */
    char *base;    /* a branch, another ref or a commit; NULL: the repository's own HEAD */
    char *note;    /* one line for the person: why not the origin, why not the branch; or NULL */
    char *warning; /* one line: what is not committed is left out; or NULL */
    /* Commits that the remote REPO lacks, for the task to start from; NULL: none. */
    struct unpushed *unpushed;
    bool from_origin; /* REPO is the remote origin of the checkout, which nobody named */
};

void checkout_release(struct checkout *checkout);

/* REPO as given to --repo; BASE as given to --base, or NULL. */
int checkout_named(struct checkout *checkout, const char *repo, const char *base, struct err *err);

/*
 * The checkout that the working directory is in. Its `origin`, when that is remote, or a repository
 * on this machine that has the commit to start from; else the checkout itself. BASE as above.
 */
int checkout_here(struct checkout *checkout, const char *base, struct err *err);

/* The address of the remote origin of the checkout that the working directory is in, which the
 * caller frees; NULL when it is in none, or its origin is not a remote one that can be used. */
char *checkout_origin(void);

/* The top directory of the checkout that the working directory is in; the caller frees. */
int checkout_top(char **top, struct err *err);

#endif
