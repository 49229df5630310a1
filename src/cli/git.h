/*
 * Running git in the caller's own repositories: by argv, with nothing of the caller's environment
 * that would point it elsewhere (GIT_DIR …), never asking, in English.
 */
#ifndef CODEX_CLI_GIT_H
#define CODEX_CLI_GIT_H

#include "base/buf.h"
#include "base/err.h"

enum { GIT_OUTPUT_MAX = 16 << 20 };

/*
 * git ARGS (NULL-terminated, without "git") in DIR (NULL: here), standard input INPUT (-1: none).
 * OUT gets standard output and ERRORS standard error, up to their maxima; NULL drops it. Returns
 * the exit status (128 + signal), or negative when git could not be run.
 */
int git_run(const char *dir, const char *const *args, int input, struct buf *out,
            struct buf *errors, struct err *err);

/* Run git for one line of output: *LINE without its end, which the caller frees. Returns 0; 1 when
 * git exited with anything else than 0 (*LINE is NULL); negative when it could not be run. */
int git_line(const char *dir, const char *const *args, char **line, struct err *err);

/* The line of ERRORS that says why: its last one with "fatal: " or "error: ", without that word,
 * else its last. The caller frees. */
char *git_reason(const struct buf *errors);

#endif
