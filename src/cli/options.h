/*
 * The one way in which every verb reads its command line: from a table.
 *
 * Options may stand before or after arguments, "--" ends them, "-" is an argument. Values come as
 * "--name=value" and "--name value", "-n5" and "-n 5", flags also as "-ab". Names are never
 * abbreviated.
 */
#ifndef CODEX_CLI_OPTIONS_H
#define CODEX_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum option_kind {
    OPTION_FLAG,     /* bool */
    OPTION_TEXT,     /* const char *, not empty */
    OPTION_CHOICE,   /* const char *: one of `choices` */
    OPTION_NUMBER,   /* struct option_number, from min to max */
    OPTION_DURATION, /* int64_t, milliseconds */
};

struct option_number {
    bool given;
    int64_t n;
};

struct option {
    const char *name; /* without the dashes; NULL ends the table */
    char letter;      /* 0: none */
    enum option_kind kind;
    size_t offset;     /* of its value in the verb's structure */
    const char *value; /* what help calls its value: "PATH"; NULL for a flag */
    const char *help;
    const char *choices; /* "low|medium|high" */
    int64_t min, max;
    bool hidden; /* from help: for other programs */
};

/* What every verb has; the first member of its structure. */
struct common_options {
    bool help, json;
};
extern const struct option common_options[];

/*
 * Parse ARGV (without the verb) into INTO by the verb's table and the common one. ARGUMENTS has
 * room for ARGC + 1 strings; what is not an option goes there, NULL behind it. FIRST_ARGUMENT_ENDS:
 * options stop at the first argument, which begins another program's command line. Returns their
 * number, or ERR_USAGE.
 */
int options_parse(const struct option *table, bool first_argument_ends, int argc, char **argv,
                  void *into, const char **arguments, struct err *err);

/* The next of the words in *CHOICES ("a|b|c"), which moves behind it: *WORD and its length, 0 at
 * the end. */
size_t choice_next(const char **choices, const char **word);

/* The help of the options in the tables, a line each. */
void options_help(const struct option *table, struct buf *out);

#endif
