/* What may come next on a command line, a word a line: for packaging/completions. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/str.h"
#include "cli/fields.h"
#include "cli/session.h"
#include "cli/verb.h"

enum { IDS_MAX = 50 };

struct complete_options {
    struct common_options common;
};

static void offer(const char *word, const char *prefix)
{
    if (str_starts_with(word, prefix))
        puts(word);
}

static void offer_verbs(const char *prefix)
{
    for (const struct verb *const *verb = verbs; *verb; verb++)
        if (!(*verb)->hidden)
            offer((*verb)->name, prefix);
}

static void offer_options(const struct option *table, const char *prefix)
{
    for (const struct option *o = table; o && o->name; o++) {
        char word[64];
        snprintf(word, sizeof word, "--%s", o->name);
        if (!o->hidden)
            offer(word, prefix);
    }
}

/* The alternatives of the option that the word before was; false when it was none with any. */
static bool offer_choices(const struct verb *verb, const char *before, const char *prefix)
{
    for (const struct option *o = verb->options; o && o->name; o++) {
        if (o->kind != OPTION_CHOICE || !str_starts_with(before, "--") ||
            strcmp(before + 2, o->name))
            continue;
        const char *choices = o->choices, *choice;
        for (size_t len; (len = choice_next(&choices, &choice));) {
            char word[64];
            snprintf(word, sizeof word, "%.*s", (int)len, choice);
            offer(word, prefix);
        }
        return true;
    }
    return false;
}

/* A server that does not answer offers nothing: nobody wants an error while typing. */
static void offer_ids(const char *prefix)
{
    struct session session;
    struct err ignored;
    json_t *tasks, *task;
    size_t i;
    if (session_open(&session, &ignored) < 0)
        return;
    char target[64];
    snprintf(target, sizeof target, "/v1/tasks?limit=%d", IDS_MAX);
    if (api_json(&session.api, "GET", target, NULL, &tasks, &ignored) == 0) {
        json_array_foreach(tasks, i, task) {
            const char *id = field_text_or(task, "id", "");
            if (api_check_id(id, &ignored) == 0)
                offer(id, prefix);
        }
        json_decref(tasks);
    }
    session_close(&session);
}

/* ARGUMENTS: the words behind "codex", the last of which is being typed and may be "". */
static int run_complete(const void *options, const char *const *arguments, int count,
                        struct err *err)
{
    const char *prefix = count ? arguments[count - 1] : "";
    const struct verb *verb = count > 1 ? verb_find(arguments[0]) : NULL;
    if (count <= 1) {
        offer_verbs(prefix);
    } else if (!verb || offer_choices(verb, arguments[count - 2], prefix)) {
        return EXIT_OK;
    } else if (*prefix == '-') {
        offer_options(verb->options, prefix);
        offer_options(common_options, prefix);
    } else if (verb == &verb_help) {
        offer_verbs(prefix);
    } else if (verb == &verb_secret && count == 2) {
        static const char *const words[] = {"set", "list", "rm"};
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
            offer(words[i], prefix);
    } else if (strstr(verb->arguments, "ID")) {
        offer_ids(prefix);
    }
    return EXIT_OK;
}

const struct verb verb_complete = {
    .name = "complete",
    .summary = "what may come next on a command line",
    .arguments = "-- WORD...",
    .options_size = sizeof(struct complete_options),
    .arguments_max = -1,
    .command_follows = true,
    .hidden = true,
    .run = run_complete,
};
