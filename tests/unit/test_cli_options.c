#include "test.h"

#include "base/cleanup.h"
#include "cli/options.h"
#include "cli/suggest.h"

struct values {
    struct common_options common;
    bool follow, all;
    const char *name, *level;
    struct option_number count;
    int64_t timeout_ms;
};

#define FIELD(field) offsetof(struct values, field)
static const struct option table[] = {
    {.name = "follow", .letter = 'f', .kind = OPTION_FLAG, .offset = FIELD(follow), .help = "stay"},
    {.name = "all", .letter = 'a', .kind = OPTION_FLAG, .offset = FIELD(all), .help = "everything"},
    {.name = "name",
     .kind = OPTION_TEXT,
     .offset = FIELD(name),
     .value = "NAME",
     .help = "its name"},
    {.name = "level",
     .kind = OPTION_CHOICE,
     .offset = FIELD(level),
     .value = "LEVEL",
     .choices = "low|medium|high",
     .help = "how much"},
    {.name = "count",
     .letter = 'n',
     .kind = OPTION_NUMBER,
     .offset = FIELD(count),
     .value = "N",
     .min = 1,
     .max = 100,
     .help = "how many"},
    {.name = "timeout",
     .kind = OPTION_DURATION,
     .offset = FIELD(timeout_ms),
     .value = "DURATION",
     .help = "how long"},
    {.name = "secret",
     .kind = OPTION_FLAG,
     .offset = FIELD(all),
     .help = "not shown",
     .hidden = true},
    {0},
};

static struct values values;
static const char *arguments[16];
static struct err err;

/* Parse the words in LINE, which are separated by single spaces. */
static int parse_words(bool first_argument_ends, const char *line)
{
    static char copy[512];
    char *argv[16];
    int argc = 0;
    values = (struct values){0};
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = *copy ? copy : NULL; word; argc++) {
        char *space = strchr(word, ' ');
        argv[argc] = word;
        if (space)
            *space = '\0';
        word = space ? space + 1 : NULL;
    }
    return options_parse(table, first_argument_ends, argc, argv, &values, arguments, &err);
}

static int parse(const char *line)
{
    return parse_words(false, line);
}

static void options_stand_anywhere(void **state)
{
    assert_int_equal(parse("one --follow two -n 5 three --name=x --level high"), 3);
    assert_true(values.follow);
    assert_false(values.all);
    assert_true(values.count.given);
    assert_int_equal(values.count.n, 5);
    assert_string_equal(values.name, "x");
    assert_string_equal(values.level, "high");
    assert_string_equal(arguments[0], "one");
    assert_string_equal(arguments[2], "three");
    assert_null(arguments[3]);
}

static void letters_combine_and_take_attached_values(void **state)
{
    assert_int_equal(parse("-fan7"), 0);
    assert_true(values.follow && values.all);
    assert_int_equal(values.count.n, 7);
    assert_int_equal(parse("-h --json"), 0);
    assert_true(values.common.help && values.common.json);
}

static void two_dashes_end_options_and_one_is_an_argument(void **state)
{
    assert_int_equal(parse("- --follow -- --name -f --"), 4);
    assert_true(values.follow);
    assert_null(values.name);
    assert_string_equal(arguments[0], "-");
    assert_string_equal(arguments[1], "--name");
    assert_string_equal(arguments[3], "--");
}

static void options_can_end_at_the_first_argument(void **state)
{
    assert_int_equal(parse_words(true, "--follow make -n --name x"), 4);
    assert_true(values.follow);
    assert_string_equal(arguments[1], "-n");
    assert_int_equal(parse_words(true, "-- make -- x"), 3);
    assert_string_equal(arguments[1], "--");
}

static void values_are_checked(void **state)
{
    static const struct {
        const char *line, *message;
    } bad[] = {
        {"--name", "--name: its NAME is missing"},
        {"--name=", "--name: its NAME is empty"},
        {"--level hgih", "--level 'hgih': not one of low|medium|high"},
        {"--level=", "--level '': not one of low|medium|high"},
        {"--level low|medium", "--level 'low|medium': not one of low|medium|high"},
        {"--count 0", "--count '0': not a number from 1 to 100"},
        {"--count 5x", "--count '5x': not a number from 1 to 100"},
        {"--count", "--count: its N is missing"},
        {"-n", "--count: its N is missing"},
        {"--timeout 1y", "--timeout '1y': not a duration like 90s, 15m, 8h or 2d (at most 30d)"},
        {"--follow=yes", "--follow takes no value"},
        {"--folow", "unknown option '--folow', did you mean '--follow'?"},
        {"--nmae=x", "unknown option '--nmae', did you mean '--name'?"},
        {"--hepl", "unknown option '--hepl', did you mean '--help'?"},
        {"--secrte", "unknown option '--secrte'"},
        {"--zzz=password", "unknown option '--zzz'"},
        {"-fx", "unknown option '-fx'"},
        {"---", "unknown option '---'"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(parse(bad[i].line), ERR_USAGE);
        assert_string_equal(err.message, bad[i].message);
    }
    assert_int_equal(parse("--timeout 15m --count=100"), 0);
    assert_int_equal(values.timeout_ms, 900000);
}

static void the_help_lists_every_option_once(void **state)
{
    AUTO_BUF struct buf out;
    buf_init(&out, 4096);
    options_help(table, &out);
    assert_string_equal(out.data, "  -f, --follow            stay\n"
                                  "  -a, --all               everything\n"
                                  "      --name NAME         its name\n"
                                  "      --level LEVEL       how much: low|medium|high\n"
                                  "  -n, --count N           how many\n"
                                  "      --timeout DURATION  how long\n"
                                  "      --json              print JSON\n"
                                  "  -h, --help              print this help\n");
}

static const char *nearest(const char *word)
{
    static const char *const words[] = {"task", "status", "list",  "logs",
                                        "diff", "apply",  "cancel"};
    struct suggestion near;
    suggest_begin(&near, word);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        suggest_weigh(&near, words[i]);
    return near.nearest ? near.nearest : "";
}

static void what_is_near_is_suggested(void **state)
{
    assert_string_equal(nearest("stauts"), "status");
    assert_string_equal(nearest("statsu"), "status");
    assert_string_equal(nearest("lsit"), "list");
    assert_string_equal(nearest("log"), "logs");
    assert_string_equal(nearest("canel"), "cancel");
    assert_string_equal(nearest("can"), "cancel");
    assert_string_equal(nearest("deliver"), "");
    assert_string_equal(nearest("x"), "");
    assert_string_equal(nearest(""), "");
    assert_string_equal(nearest("a-word-that-is-longer-than-any-of-the-words-could-ever-be"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_anywhere),
        cmocka_unit_test(letters_combine_and_take_attached_values),
        cmocka_unit_test(two_dashes_end_options_and_one_is_an_argument),
        cmocka_unit_test(options_can_end_at_the_first_argument),
        cmocka_unit_test(values_are_checked),
        cmocka_unit_test(the_help_lists_every_option_once),
        cmocka_unit_test(what_is_near_is_suggested),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
