/*
 * Running the git program: by argv, with a clean environment, bounded output and a deadline.
 *
 * Every command runs with no system or user configuration, no GIT_* from outside, no hooks, no
 * fsmonitor, no prompt, no credential helper, no transport, no replace refs or grafts and no
 * automatic gc. A repository's own configuration is still read: callers use only commands that run
 * nothing that it names (see tests/integration/test_codex_git_canaries.py).
 *
 * The program must ignore SIGPIPE.
 */
#ifndef CODEX_GIT_COMMAND_H
#define CODEX_GIT_COMMAND_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    GIT_ARGS_MAX = 64,
    GIT_ENV_MAX = 16,
    GIT_TIMEOUT_MS = 120000, /* of a command, unless it says otherwise */
};

/* Every pointer is the caller's and must live until git_run() returns. */
struct git_command {
    const char *argv[GIT_ARGS_MAX + 1];
    size_t argc;
    size_t name; /* index in argv of the subcommand, for messages */
    const char *env[GIT_ENV_MAX];
    size_t env_count;
    const char *dir; /* where it runs; NULL: here */

    /* Standard input: INPUT_LEN bytes at INPUT, or the file INPUT_FD from INPUT_OFFSET to INPUT_END
     * (0: its end; its own position neither matters nor moves), or nothing. */
    const char *input;
    size_t input_len;
    int input_fd;
    int64_t input_offset, input_end;

    /* Standard output: to a buffer (more than fits is ERR_LIMIT), to a descriptor, or nowhere. */
    struct buf *out;
    int out_fd;

    /* Standard error: what git says last is in the error of git_run(); here, the end of all. */
    struct buf *errors;

    int pass_fd; /* this one is 3 in git and in the helpers that it starts; -1: none */

    int64_t timeout_ms;
    int64_t stall_ms;    /* how long it may say nothing (with --progress); 0: no limit */
    uint64_t file_max;   /* bytes that it may write to one file; 0: no limit of ours */
    uint64_t memory_max; /* bytes of address space; 0: no limit of ours */
};

/* GIT_DIR and WORK_TREE may be NULL (not given). */
void git_command_init(struct git_command *command, const char *git_dir, const char *work_tree);

/* Add a "-c" setting, before the first git_args(). */
void git_setting(struct git_command *command, const char *setting);

/* The subcommand and its arguments; can be called again for more. Ends with NULL. */
void git_args(struct git_command *command, ...) __attribute__((sentinel));

/* "NAME=value" for the command's environment, in place of what that would have. GIT_INDEX_FILE is
 * one that a command which uses an index must have. */
void git_env(struct git_command *command, const char *entry);

/*
 * Run it to its end. Returns its exit code; unless that is 0, ERR holds what git said last.
 * Negative when it could not be run, was killed (-ETIMEDOUT: by a deadline), or printed too much.
 */
int git_run(struct git_command *command, struct err *err);

/* The same for a command that must succeed: any other exit code becomes -EIO. */
int git_must(struct git_command *command, struct err *err);

/* The same for a command that prints one object id, into ID. */
int git_read_id(struct git_command *command, char id[/* OBJECT_ID_SIZE */], struct err *err);

#endif
