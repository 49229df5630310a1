/*
 * Following event files: whole lines are handed on as they appear, each exactly once. inotify says
 * when to look, and a slow poll makes up for what it misses.
 */
#ifndef CODEX_ORCHESTRATOR_FOLLOW_H
#define CODEX_ORCHESTRATOR_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/loop.h"

enum { FOLLOW_LINE_MAX = 4 << 20 }; /* a longer line is passed over */

struct followers;
struct follower;

/* Whole lines, each with its newline, the first of which begins at OFFSET of the file. *CONSUMED
 * says how many bytes are dealt with for good, also on failure (then the rest comes again in a
 * while). *ENDED: no further line matters. The follower must not be freed from here. */
typedef int follow_lines_fn(void *arg, const char *lines, size_t len, int64_t offset,
                            size_t *consumed, bool *ended, struct err *err);

/* There is nothing more to read for now. The follower may be freed from here. */
typedef void follow_idle_fn(void *arg);

/* Something cannot be read or LINES failed; it is tried again. */
typedef void follow_trouble_fn(void *arg, const struct err *err);

struct follow_options {
    follow_lines_fn *lines;
    follow_idle_fn *idle;
    follow_trouble_fn *trouble;
    void *arg;
};

struct followers *followers_new(struct loop *loop);
void followers_free(struct followers *followers); /* after its followers */

/* Begin at OFFSET, which is where a line begins. Nothing is called from within. */
struct follower *follower_new(struct followers *followers, const char *path, int64_t offset,
                              const struct follow_options *options, struct err *err);
void follower_free(struct follower *follower);

/* Look now (in the next round of the loop), for instance because the writer is gone. */
void follower_poke(struct follower *follower);

/* Whether anything was ever in the file. */
bool follower_is_empty(const struct follower *follower);

#endif
