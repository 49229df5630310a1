/*
 * What opens a remote repository: token, ssh key, whom to trust. It reaches codex-git in a memory
 * file, never as an argument, in the environment or on a disk.
 */
#ifndef CODEX_GIT_ACCESS_H
#define CODEX_GIT_ACCESS_H

#include "base/err.h"

/* Descriptors of codex-git with a remote repository. */
enum remote_fd {
    REMOTE_FD_ACCESS = 3,
    REMOTE_FD_BUNDLE = 4,
    REMOTE_FD_MODULES = 4, /* fetch: takes the list of submodules */
    REMOTE_FD_EXTRA = 5,
};

struct git_access { /* texts; NULL: none */
    char *user, *token;
    char *ssh_key, *known_hosts;
    char *ca; /* certificates to trust instead of the system's */
    /* Of an address that no person has named: what may be reached, `internet` of gateway.json. */
    char *internet;
};

/* A sealed memory file with what ACCESS has; returns its descriptor. */
int git_access_write(const struct git_access *access, struct err *err);

/* Read it again. Release it also after a failure. */
int git_access_read(int fd, struct git_access *access, struct err *err);
void git_access_release(struct git_access *access); /* wipes it */

#endif
