/* The submodules of a commit, and where they are fetched from. */
#ifndef CODEX_GIT_MODULES_H
#define CODEX_GIT_MODULES_H

#include "base/buf.h"
#include "base/err.h"
#include "base/repo_url.h"

enum { MODULES_LIST_MAX = 60000 /* bytes */, MODULES_MAX = 32 };

/*
 * List the submodules of COMMIT in GIT_DIR, a line each, into OUT (of MODULES_LIST_MAX bytes):
 *
 *     module <commit> <address> <path>      one that can be fetched
 *     note <text>                           one that cannot, and why
 *
 * "passing <text>", of others: what could not be had now, and may be another time.
 *
 * An address is one of base/repo_url.h; a relative one was put together with that of the
 * repository itself, URL, and is on the same host. Paths are for people: cut, and without control
 * characters. At most MODULES_MAX are listed. Whoever wrote the commit has a say in nothing else, and
 * cannot make it fail.
 */
void modules_list(const char *git_dir, const char *commit, const struct repo_url *url,
                  struct buf *out);

/* The address RELATIVE ("./…", "../…") as seen from URL, into OUT. ERR_USAGE when it leads out of
 * the host's paths, or is no address. */
int modules_resolve_relative(const struct repo_url *url, const char *relative, struct repo_url *out,
                             struct err *err);

#endif
