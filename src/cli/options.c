#include "cli/options.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "cli/suggest.h"

const struct option common_options[] = {
    {"json", 0, OPTION_FLAG, offsetof(struct common_options, json), .help = "print JSON"},
    {"help", 'h', OPTION_FLAG, offsetof(struct common_options, help), .help = "print this help"},
    {0},
};

/* Both tables are searched, the verb's first. NAME has LEN bytes; LETTER is used when it is
 * NULL. */
static const struct option *find(const struct option *table, const char *name, size_t len,
                                 char letter)
{
    const struct option *tables[] = {table, common_options};
    for (size_t t = 0; t < 2; t++)
        for (const struct option *o = tables[t]; o && o->name; o++)
            if (name ? strlen(o->name) == len && !memcmp(o->name, name, len) : o->letter == letter)
                return o;
    return NULL;
}

static int unknown_option(const struct option *table, const char *name, size_t len, struct err *err)
{
    char word[64];
    struct suggestion near;
    snprintf(word, sizeof word, "%.*s", (int)(len < sizeof word ? len : sizeof word - 1), name);
    if (strpbrk(word, " \n"))
        return err_set(err, ERR_USAGE,
                       "unknown option '--%s': words that begin with '-' stand behind '--'", word);
    suggest_begin(&near, word);
    const struct option *tables[] = {table, common_options};
    for (size_t t = 0; t < 2; t++)
        for (const struct option *o = tables[t]; o && o->name; o++)
            if (!o->hidden)
                suggest_weigh(&near, o->name);
    if (near.nearest)
        return err_set(err, ERR_USAGE, "unknown option '--%s', did you mean '--%s'?", word,
                       near.nearest);
    return err_set(err, ERR_USAGE, "unknown option '--%s'", word);
}

size_t choice_next(const char **choices, const char **word)
{
    *word = *choices + strspn(*choices, "|");
    size_t len = strcspn(*word, "|");
    *choices = *word + len;
    return len;
}

static bool is_choice(const char *choices, const char *value)
{
    const char *word;
    size_t len;
    while ((len = choice_next(&choices, &word)))
        if (len == strlen(value) && !memcmp(word, value, len))
            return true;
    return false;
}

static int set_number(const struct option *option, const char *value, void *field, struct err *err)
{
    struct option_number *number = field;
    if (str_parse_int(value, option->min, option->max, &number->n) == 0) {
        number->given = true;
        return 0;
    }
    if (option->max == INT64_MAX)
        return err_set(err, ERR_USAGE, "--%s '%s': not a number of at least %lld", option->name,
                       value, (long long)option->min);
    return err_set(err, ERR_USAGE, "--%s '%s': not a number from %lld to %lld", option->name, value,
                   (long long)option->min, (long long)option->max);
}

static int set_duration(const struct option *option, const char *value, void *field,
                        struct err *err)
{
    int64_t ms = clock_parse_duration_ms(value);
    if (ms < 0)
        return err_set(err, ERR_USAGE,
                       "--%s '%s': not a duration like 90s, 15m, 8h or 2d (at most 30d)",
                       option->name, value);
    *(int64_t *)field = ms;
    return 0;
}

static int set_value(const struct option *option, const char *value, void *into, struct err *err)
{
    void *field = (char *)into + option->offset;
    switch (option->kind) {
    case OPTION_FLAG:
        *(bool *)field = true;
        return 0;
    case OPTION_TEXT:
        if (!*value)
            return err_set(err, ERR_USAGE, "--%s: its %s is empty", option->name, option->value);
        *(const char **)field = value;
        return 0;
    case OPTION_CHOICE:
        if (!is_choice(option->choices, value))
            return err_set(err, ERR_USAGE, "--%s '%s': not one of %s", option->name, value,
                           option->choices);
        *(const char **)field = value;
        return 0;
    case OPTION_NUMBER:
        return set_number(option, value, field, err);
    case OPTION_DURATION:
        return set_duration(option, value, field, err);
    }
    return err_set(err, ERR_USAGE, "--%s cannot be set", option->name);
}

struct parser {
    const struct option *table;
    int argc, at; /* of the word that is being read */
    char **argv;
    void *into;
};

/* Set OPTION from ATTACHED ("=value", "-n5"), else from the word that follows. */
static int take_value(struct parser *parser, const struct option *option, const char *attached,
                      struct err *err)
{
    if (option->kind == OPTION_FLAG && attached)
        return err_set(err, ERR_USAGE, "--%s takes no value", option->name);
    if (option->kind == OPTION_FLAG || attached)
        return set_value(option, attached, parser->into, err);
    if (parser->at + 1 >= parser->argc)
        return err_set(err, ERR_USAGE, "--%s: its %s is missing", option->name, option->value);
    return set_value(option, parser->argv[++parser->at], parser->into, err);
}

static int take_long(struct parser *parser, const char *name, struct err *err)
{
    size_t len = strcspn(name, "=");
    const struct option *option = find(parser->table, name, len, 0);
    if (!option)
        return unknown_option(parser->table, name, len, err);
    return take_value(parser, option, name[len] ? name + len + 1 : NULL, err);
}

static int take_letters(struct parser *parser, const char *word, struct err *err)
{
    for (const char *letters = word + 1; *letters; letters++) {
        const struct option *option = find(parser->table, NULL, 0, *letters);
        if (!option)
            return err_set(err, ERR_USAGE, "unknown option '%.32s'%s", word,
                           strpbrk(word, " \n") ? ": words that begin with '-' stand behind '--'"
                                                : "");
        if (option->kind != OPTION_FLAG)
            return take_value(parser, option, letters[1] ? letters + 1 : NULL, err);
        int status = set_value(option, NULL, parser->into, err);
        if (status < 0)
            return status;
    }
    return 0;
}

int options_parse(const struct option *table, bool first_argument_ends, int argc, char **argv,
                  void *into, const char **arguments, struct err *err)
{
    struct parser parser = {.table = table, .argc = argc, .argv = argv, .into = into};
    bool ended = false;
    int count = 0;
    for (; parser.at < argc; parser.at++) {
        const char *word = argv[parser.at];
        int status = 0;
        if (ended || word[0] != '-' || !word[1]) {
            arguments[count++] = word;
            ended = ended || first_argument_ends;
        } else if (!strcmp(word, "--")) {
            ended = true;
        } else {
            status = word[1] == '-' ? take_long(&parser, word + 2, err)
                                    : take_letters(&parser, word, err);
        }
        if (status < 0)
            return status;
    }
    arguments[count] = NULL;
    return count;
}

/* "-f, --follow", "    --repo PATH" */
static int option_head(const struct option *o, char *out, size_t size)
{
    char letter[5] = "    ";
    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    return snprintf(out, size, "%s--%s%s%s", letter, o->name, o->value ? " " : "",
                    o->value ? o->value : "");
}

void options_help(const struct option *table, struct buf *out)
{
    const struct option *tables[] = {table, common_options};
    char head[128];
    int widest = 0;
    for (size_t t = 0; t < 2; t++)
        for (const struct option *o = tables[t]; o && o->name; o++) {
            int width = o->hidden ? 0 : option_head(o, head, sizeof head);
            widest = width > widest ? width : widest;
        }
    for (size_t t = 0; t < 2; t++)
        for (const struct option *o = tables[t]; o && o->name; o++) {
            if (o->hidden)
                continue;
            option_head(o, head, sizeof head);
            buf_appendf(out, "  %-*s  %s%s%s\n", widest, head, o->help, o->choices ? ": " : "",
                        o->choices ? o->choices : "");
        }
}
