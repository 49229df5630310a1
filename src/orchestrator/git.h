/*
 * Runs of codex-git, asked for from the spawner: what they print is read here with bounds, and they
 * end in time whatever happens to them.
 */
#ifndef CODEX_ORCHESTRATOR_GIT_H
#define CODEX_ORCHESTRATOR_GIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/loop.h"
#include "orchestrator/spawner.h"

struct git_fd {
    int fd;         /* of ours, stays ours */
    uint8_t number; /* in codex-git */
};

enum { GIT_ARGS_MAX = 16, GIT_FDS_MAX = SPAWN_GIT_FDS_MAX - 2, GIT_OUTPUT_MAX = 64 * 1024 };

struct git_request {
    const char *args[GIT_ARGS_MAX]; /* after "codex-git", up to the first NULL */
    /* NULL: isolated. Else a local repository, used as its submitter UID. */
    const char *repository;
    uint32_t uid;
    bool remote; /* a remote repository, with the network, as our own user; REPOSITORY is NULL */
    int64_t timeout_ms;
    struct git_fd fds[GIT_FDS_MAX];
    size_t fds_count;
    bool no_output;        /* descriptor 1 is among FDS; else what it prints is captured */
    uint8_t output_number; /* or what it writes to this one is; 0: to 1 */
};

struct git_result {
    int status; /* enum git_exit; -1: it did not run to its end (killed, timed out, not started) */
    const char *output;  /* what it printed */
    const char *message; /* why it failed, one line; "" when it did not */
};

typedef void git_done_fn(void *arg, const struct git_result *result);

struct git;
struct git_job;

struct git *git_new(struct loop *loop, struct spawner *spawner);
void git_free(struct git *git); /* jobs under way are dropped without a word */

/* DONE is called once, never from within this function. NULL when it cannot be started. */
struct git_job *git_start(struct git *git, const struct git_request *request, git_done_fn *done,
                          void *arg, struct err *err);

/* It is no longer wanted: DONE will not be called. NULL is fine. */
void git_drop(struct git_job *job);

#endif
