#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "cli/fields.h"
#include "cli/verb.h"

struct help_options {
    struct common_options common;
};

void help_append(struct buf *out)
{
    buf_append_str(out, "usage: codex VERB [OPTION]... [ARGUMENT]...\n\n"
                        "Hand tasks to coding agents; each works in a sandbox of its own and comes "
                        "back as a tested branch.\n\n");
    for (const struct verb *const *verb = verbs; *verb; verb++)
        if (!(*verb)->hidden)
            buf_appendf(out, "  %-9s %s\n", (*verb)->name, (*verb)->summary);
    buf_append_str(out,
                   "\n'codex VERB --help' explains each, 'codex doctor' checks this machine.\n");
}

void help_append_verb(const struct verb *verb, struct buf *out)
{
    buf_appendf(out, "usage: codex %s [OPTION]...%s%s\n\n%s\n\n", verb->name,
                *verb->arguments ? " " : "", verb->arguments, verb->summary);
    options_help(verb->options, out);
    if (verb->examples)
        buf_appendf(out, "\nexamples:\n%s", verb->examples);
}

static void print_json(void)
{
    json_t *list = json_array();
    for (const struct verb *const *verb = verbs; *verb; verb++)
        if (!(*verb)->hidden)
            json_array_append_new(list,
                                  json_pack("{s:s,s:s,s:s}", "verb", (*verb)->name, "arguments",
                                            (*verb)->arguments, "summary", (*verb)->summary));
    json_print(list);
    json_decref(list);
}

static int run_help(const void *options, const char *const *arguments, int count, struct err *err)
{
    const struct help_options *help = options;
    AUTO_BUF struct buf out;
    buf_init(&out, 65536);
    const struct verb *verb = count ? verb_find(arguments[0]) : NULL;
    if (count && !verb)
        return verb_unknown(arguments[0], err);
    if (verb)
        help_append_verb(verb, &out);
    else if (help->common.json)
        print_json();
    else
        help_append(&out);
    fputs(out.data, stdout);
    return EXIT_OK;
}

const struct verb verb_help = {
    .name = "help",
    .summary = "what there is, and how it is used",
    .arguments = "[VERB]",
    .examples = "  codex help task\n",
    .options_size = sizeof(struct help_options),
    .arguments_max = 1,
    .run = run_help,
};
