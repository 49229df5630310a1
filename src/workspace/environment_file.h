/*
 * `.codex/environment.conf` of the repository: what it says about the place that its work is done
 * in. Lines of `key = value`, and comments, which begin with `#` or `;`; `setup` may stand several times, and its lines
 * are run in their order. `internet` and `allow` narrow what the server lets its tasks reach, in the
 * words of codex.conf's [internet]; `memory`, `cpus`, `pids` and `disk` what they may take, in those
 * of its [sandbox]. `user = root` has the task's commands run as the container's root instead of
 * `codex`, where the server allows that.
 */
#ifndef CODEX_WORKSPACE_ENVIRONMENT_FILE_H
#define CODEX_WORKSPACE_ENVIRONMENT_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "task/limits.h"

#define ENVIRONMENT_FILE ".codex/environment.conf"

enum {
    ENVIRONMENT_FILE_MAX = 65536,
    ENVIRONMENT_SETUP_MAX = 32,
    ENVIRONMENT_RULES_MAX = 128,
    ENVIRONMENT_RULE_MAX = 300,       /* bytes */
    ENVIRONMENT_INTERNET_MAX = 49152, /* bytes of what environment_file_internet() appends */
};

struct environment_file {
    char *setup[ENVIRONMENT_SETUP_MAX];
    size_t setup_count;
    const char *internet; /* static: off, common, list, public; NULL: not said */
    char *allow[ENVIRONMENT_RULES_MAX];
    size_t allow_count;
    struct task_limits limits; /* of the sandboxes; 0: not said */
    bool has_user, as_root;    /* `user` stands in it; and is root */
    unsigned later;            /* a bit for each key of later versions that is in it */
};

/* Read it below the directory DIR. 1 when there is one, 0 when not; ERR_USAGE names the line that
 * cannot be understood. Release it also after a failure. */
int environment_file_read(const char *dir, struct environment_file *file, struct err *err);
void environment_file_release(struct environment_file *file);

/* Mention the keys of later versions on standard error. */
void environment_file_say(const struct environment_file *file);

/* Append what FILE says of the internet, as JSON: null when it narrows nothing, else
 * {"access":"list","allow":["example.com",…]}, each rule one that base/net_rule.h reads. */
void environment_file_internet(const struct environment_file *file, struct buf *out);

#endif
