/* The verbs of `codex`: a file each, told to the rest by this table's row. */
#ifndef CODEX_CLI_VERB_H
#define CODEX_CLI_VERB_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "cli/options.h"

enum exit_status {
    EXIT_OK = 0,
    EXIT_TASK_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NOT_FOUND = 3,
    EXIT_NO_SERVER = 4,
    EXIT_REFUSED = 5,
    EXIT_NO_SANDBOX = 125,
};

struct verb {
    const char *name;
    const char *summary;   /* one line, in `codex help` */
    const char *arguments; /* as in the usage line: "[ID]" */
    const char *examples;  /* whole lines, indented by two */
    const struct option *options;
    size_t options_size; /* of its structure, which begins with struct common_options */
    int arguments_min, arguments_max;
    bool command_follows; /* options end at the first argument: the rest is another command */
    bool hidden;          /* from help: for other programs */
    /* OPTIONS is its structure; ARGUMENTS are COUNT, NULL behind them. Returns the exit status, or
     * negative with ERR, from which the exit status follows. */
    int (*run)(const void *options, const char *const *arguments, int count, struct err *err);
};

extern const struct verb verb_task, verb_status, verb_list, verb_logs, verb_diff, verb_apply,
    verb_cancel, verb_deliver, verb_sandbox, verb_secret, verb_doctor, verb_help, verb_version,
    verb_complete;

/* All of them, NULL behind the last. */
extern const struct verb *const verbs[];

/* NULL when there is none. */
const struct verb *verb_find(const char *name);

/* ERR_USAGE: there is no verb NAME; with the nearest that there is. */
int verb_unknown(const char *name, struct err *err);

/* Parse and run: ARGV is the whole command line. Returns the exit status. */
int cli_main(int argc, char **argv);

/* `codex help`, and `codex VERB --help`. */
void help_append(struct buf *out);
void help_append_verb(const struct verb *verb, struct buf *out);

#endif
