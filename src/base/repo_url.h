/*
 * Addresses of remote repositories, as a person or an `origin` gives them:
 *
 *     https://host[:port]/owner/name     ssh://user@host[:port]/owner/name     user@host:owner/name
 *
 * (http:// parses, too; who may use it is decided elsewhere.) This is the only place that takes them
 * apart. What passes has no options, no transport helper, no login, no query and only characters
 * that mean nothing to a shell, so it can be an argument of git and of ssh.
 */
#ifndef CODEX_BASE_REPO_URL_H
#define CODEX_BASE_REPO_URL_H

#include <stdbool.h>

#include "base/err.h"

enum repo_scheme { REPO_HTTPS, REPO_HTTP, REPO_SSH };

enum { REPO_URL_MAX = 1024 /* bytes */, REPO_HOST_MAX = 253 /* RFC 1035 */, REPO_USER_MAX = 64 };

struct repo_url {
    enum repo_scheme scheme;
    char user[REPO_USER_MAX + 1]; /* ssh */
    char host[REPO_HOST_MAX + 1]; /* lower case; IPv6 without its brackets */
    int port;                     /* 0: the scheme's own */
    char text[REPO_URL_MAX + 1];  /* the whole, in the one form that stands for it everywhere */
    char site[REPO_HOST_MAX + 9]; /* "host" or "host:port": as in [forge "…"] */
};

/* Whether git would take LOCATION for a remote repository: "scheme://…" except file, a transport
 * helper ("ext::…"), or a colon before the first slash (git-clone(1), "GIT URLS"). */
bool repo_url_is_remote(const char *location);

/* ERR_USAGE with one line that says what to do, where TEXT is not such an address. */
int repo_url_parse(struct repo_url *url, const char *text, struct err *err);

/* Whether the host is this machine by name or number: localhost, 127.0.0.0/8, ::1. */
bool repo_url_is_loopback(const struct repo_url *url);

#endif
