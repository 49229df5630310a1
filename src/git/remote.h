/*
 * Git with a remote repository: the one place where git may use a transport. It uses the one that
 * the address names and no other, logs in with what ACCESS holds and nothing else, follows no
 * redirect to another host, and ends when nothing comes any more. Where ACCESS has a policy, it
 * connects only to addresses that this allows, and follows no redirect at all.
 *
 * What goes wrong is told in one line and by its code:
 *
 *     ERR_NOT_FOUND   there is no such repository or ref (or we may not see it)
 *     -EACCES         the login is refused, or lacks the right
 *     -EHOSTUNREACH   the host cannot be reached, hangs or breaks off: may pass
 *     ERR_REFUSED     anything else that the remote says no to, or that we do
 */
#ifndef CODEX_GIT_REMOTE_H
#define CODEX_GIT_REMOTE_H

#include <stdint.h>

#include "base/repo_url.h"
#include "git/access.h"
#include "git/command.h"
#include "git/verbs.h"

struct remote {
    struct repo_url url;
    struct git_access access;
    char *mirror;        /* path of the mirror; NULL: none was given */
    char *secrets;       /* a directory of ours, for ssh and TLS; NULL: none was needed */
    char *scratch;       /* a directory of ours, for repositories; NULL: none was needed */
    int credentials;     /* descriptor of what the credential helper prints, or -1 */
    int64_t deadline_ms; /* of everything together, on the monotonic clock */
    int64_t stall_ms;
    char *settings[6]; /* "-c" settings that the remote needs */
    char *env[3];
};

/* ACCESS_FD: what git_access_write() made. Release it also after a failure. */
int remote_open(struct remote *remote, const struct verb_request *request, int access_fd,
                struct err *err);
void remote_release(struct remote *remote);

/* TEXT as a file NAME that goes with REMOTE; returns its path, which the caller frees; NULL on failure. */
char *remote_put_secret(struct remote *remote, const char *name, const char *text, struct err *err);

/* For a command whose helpers have none of its descriptors: the "-c" setting by which the login comes from
 * a file, into *SETTING, which the caller frees; NULL when there is no token. */
int remote_login_by_file(struct remote *remote, char **setting, struct err *err);

/* A command that may talk to the remote. GIT_DIR may be NULL. */
void remote_command(struct remote *remote, struct git_command *command, const char *git_dir);

/* Run it; 0 or negative as above. */
int remote_run(struct remote *remote, struct git_command *command, struct err *err);
/* The same; the end of its standard error is in SAID then. */
int remote_run_said(struct remote *remote, struct git_command *command, struct buf *said,
                    struct err *err);

/* A new bare repository NAME in the scratch directory, whose path is returned (the caller frees);
 * NULL on failure. It sees the mirror's objects when there is a mirror. */
char *remote_scratch(struct remote *remote, const char *name, struct err *err);

/* The commit of BRANCH at the remote into SHA, "" when it is not there. */
int remote_find_branch(struct remote *remote, const char *branch, char sha[/* OBJECT_ID_SIZE */],
                       struct err *err);

/* Whether we may push: asks the remote without changing anything. */
int remote_check_push(struct remote *remote, struct err *err);

/* `codex-git credential SCHEME SITE`: git's question on standard input (gitcredentials(7)), the
 * answer from descriptor 3; nothing for any other host. Returns the exit status. */
int remote_credential_helper(const char *scheme, const char *site);

#endif
