#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/suggest.h"
#include "cli/text.h"
#include "cli/verb.h"

enum { ERROR_LINE_MAX = 8192 };

const struct verb *const verbs[] = {
    &verb_task,   &verb_status, &verb_list,    &verb_logs,     &verb_diff,
    &verb_apply,  &verb_cancel, &verb_deliver, &verb_sandbox,  &verb_secret,
    &verb_doctor, &verb_help,   &verb_version, &verb_complete, NULL,
};

const struct verb *verb_find(const char *name)
{
    for (const struct verb *const *verb = verbs; *verb; verb++)
        if (!strcmp((*verb)->name, name))
            return *verb;
    return NULL;
}

int verb_unknown(const char *name, struct err *err)
{
    struct suggestion near;
    if (strpbrk(name, " \n"))
        return err_set(err, ERR_USAGE,
                       "the first word is a verb: to hand in a task, write codex task \"...\"");
    suggest_begin(&near, name);
    for (const struct verb *const *verb = verbs; *verb; verb++)
        if (!(*verb)->hidden)
            suggest_weigh(&near, (*verb)->name);
    if (near.nearest)
        return err_set(err, ERR_USAGE, "unknown verb '%.64s', did you mean '%s'?", name,
                       near.nearest);
    return err_set(err, ERR_USAGE, "unknown verb '%.64s': 'codex help' lists them", name);
}

/* The exit status that an error's code stands for; docs/api.md has the server's side of it. */
static int exit_status(int code)
{
    switch (code) {
    case ERR_USAGE:
        return EXIT_USAGE;
    case ERR_NOT_FOUND:
        return EXIT_NOT_FOUND;
    case ERR_NO_SERVER:
        return EXIT_NO_SERVER;
    case ERR_SANDBOX:
        return EXIT_NO_SANDBOX;
    default:
        return EXIT_REFUSED;
    }
}

/* The one place where errors are told. What is in them may have come from anywhere. */
static int fail(const struct verb *verb, const struct err *err)
{
    AUTO_FREE char *clean = text_clean(err->message);
    AUTO_BUF struct buf line;
    buf_init(&line, ERROR_LINE_MAX);
    for (char *p = clean; *p; p++)
        if (*p == '\n')
            *p = ' '; /* a name with one in it must not hide the rest */
    buf_appendf(&line, "codex%s%s: ", verb ? " " : "", verb ? verb->name : "");
    text_append_cut(&line, clean, ERROR_LINE_MAX);
    fflush(stdout);
    fprintf(stderr, "%s\n", line.data);
    return exit_status(err->code);
}

static int check_count(const struct verb *verb, int count, struct err *err)
{
    if (count >= verb->arguments_min && (count <= verb->arguments_max || verb->arguments_max < 0))
        return 0;
    const char *what = count < verb->arguments_min ? "something is missing" : "too many arguments";
    return err_set(err, ERR_USAGE, "%s: usage: codex %s %s", what, verb->name, verb->arguments);
}

static int run_verb(const struct verb *verb, int argc, char **argv, struct err *err)
{
    AUTO_FREE void *options = calloc(1, verb->options_size);
    AUTO_FREE const char **arguments = calloc((size_t)argc + 1, sizeof *arguments);
    if (!options || !arguments)
        abort();
    int count =
        options_parse(verb->options, verb->command_follows, argc, argv, options, arguments, err);
    if (count < 0)
        return count;
    if (((const struct common_options *)options)->help) {
        AUTO_BUF struct buf out;
        buf_init(&out, 65536);
        help_append_verb(verb, &out);
        fputs(out.data, stdout);
        return EXIT_OK;
    }
    int status = check_count(verb, count, err);
    return status < 0 ? status : verb->run(options, arguments, count, err);
}

/* `codex --help`, `codex -h`, `codex --version`, `codex -V` are verbs to us. */
static const char *verb_name(const char *word)
{
    if (!strcmp(word, "--help") || !strcmp(word, "-h"))
        return "help";
    if (!strcmp(word, "--version") || !strcmp(word, "-V"))
        return "version";
    return word;
}

int cli_main(int argc, char **argv)
{
    struct err err;
    text_init();
    if (argc < 2) {
        AUTO_BUF struct buf out;
        buf_init(&out, 65536);
        help_append(&out);
        fputs(out.data, stderr);
        return EXIT_USAGE;
    }
    const struct verb *verb = verb_find(verb_name(argv[1]));
    if (!verb) {
        if (argv[1][0] == '-')
            err_set(&err, ERR_USAGE, "the verb comes first: 'codex help' lists them");
        else
            verb_unknown(argv[1], &err);
        return fail(NULL, &err);
    }
    int status = run_verb(verb, argc - 2, argv + 2, &err);
    if (status < 0)
        return fail(verb, &err);
    if (fflush(stdout) == EOF || ferror(stdout)) {
        err_errno(&err, "cannot write to standard output");
        return fail(verb, &err);
    }
    return status;
}
