#include "test.h"

#include <time.h>

#include "base/cleanup.h"
#include "cli/format.h"
#include "cli/screen.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/words.h"

static void assert_clean(const char *raw, const char *expected)
{
    AUTO_FREE char *clean = text_clean(raw);
    assert_string_equal(clean, expected);
}

static void what_programs_write_becomes_what_a_terminal_would_have_shown(void **state)
{
    assert_clean("plain\ttext\n", "plain\ttext\n");
    assert_clean("\x1b[1;31mred\x1b[0m \x1b[2Jx\x1b[?25l", "red x");
    assert_clean("\x1b]0;title\aafter \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "after link");
    assert_clean("\x1bP1$r0m\x1b\\dcs \x1b(Bset \x1b=\x1b"
                 "7",
                 "dcs set ");
    assert_clean("10%\r50%\r100%\ndone\r\n", "100%\ndone\n");
    assert_clean("|\b/\b-\bok", "ok");
    assert_clean("\xc3\xa9\b.", ".");
    assert_clean("a\nb\b\b\bc", "a\nc");
    assert_clean("bell\a", "bell");
    assert_clean(NULL, "");
}

static void what_is_left_of_controls_is_shown_and_obeyed_by_nobody(void **state)
{
    assert_clean("\x1b", "\\x1b");
    assert_clean("\x1b[31", "\\x1b[31");
    assert_clean("\x1b\xc3\xa9", "\\x1b\xc3\xa9");
    assert_clean("\x1b]0;no end\nreal output", "\\x1b]0;no end\nreal output");
    assert_clean("\xc2\x9b"
                 "2J",
                 "\\x9b2J");
    assert_clean("a\xff"
                 "b",
                 "a\xef\xbf\xbd"
                 "b");
    assert_clean("\u202egnp.exe", "\\u202egnp.exe");
    assert_clean("\x01\x7f", "\\x01\\x7f");
}

static void a_control_string_cannot_hide_much(void **state)
{
    AUTO_BUF struct buf raw;
    buf_init(&raw, 20000);
    buf_append_str(&raw, "\x1b]0;");
    for (int i = 0; i < 10000; i++)
        buf_append_char(&raw, 'x');
    buf_append_str(&raw, "\a");
    AUTO_FREE char *clean = text_clean(raw.data);
    assert_true(strlen(clean) > 10000);
}

static void width_is_in_columns(void **state)
{
    assert_int_equal(text_width("abc", 3), 3);
    assert_int_equal(text_width("\xc3\xa9", 2), 1);
    assert_int_equal(text_width("\u6f22\u5b57", 6), 4);
    assert_int_equal(text_width("e\u0301", 3), 1);
    assert_int_equal(text_width("\xff\xfe", 2), 2);
    assert_int_equal(text_fit("\u6f22\u5b57", 6, 3), 3);
    assert_int_equal(text_fit("\u6f22\u5b57", 6, 1), 0);
    assert_int_equal(text_fit("abc", 3, 3), 3);
}

static void assert_cut(const char *text, size_t columns, const char *expected)
{
    AUTO_BUF struct buf out;
    buf_init(&out, 1000);
    text_append_cut(&out, text, columns);
    assert_string_equal(out.data, expected);
    assert_true(text_width(out.data, out.len) <= columns);
}

static void lines_are_cut_between_characters(void **state)
{
    assert_cut("abcdef", 6, "abcdef");
    assert_cut("abcdefg", 6, "abc...");
    assert_cut("\u6f22\u5b57\u6f22\u5b57", 8, "\u6f22\u5b57\u6f22\u5b57");
    assert_cut("\u6f22\u5b57\u6f22\u5b57", 7, "\u6f22\u5b57...");
    assert_cut("one\ntwo", 20, "one...");
    assert_cut("a\tb", 20, "a b");
    assert_cut("abcdef", 2, "ab");
    assert_cut("abcdef", 0, "");
}

static void assert_formatted(void (*format)(int64_t, char *), int64_t value, const char *expected)
{
    char out[FORMAT_SIZE];
    format(value, out);
    assert_string_equal(out, expected);
}

static void figures_are_short(void **state)
{
    assert_formatted(format_duration, 0, "0.0s");
    assert_formatted(format_duration, 420, "0.4s");
    assert_formatted(format_duration, 9999, "9.9s");
    assert_formatted(format_duration, 10000, "10s");
    assert_formatted(format_duration, 151000, "2m31s");
    assert_formatted(format_duration, 3840000, "1h04m");
    assert_formatted(format_duration, 266400000, "3d02h");
    assert_formatted(format_duration, -5, "0.0s");
    assert_formatted(format_age, 59999, "59s");
    assert_formatted(format_age, 3600000, "1h");
    assert_formatted(format_age, 86400000LL * 400, "400d");
    assert_formatted(format_count, 0, "0");
    assert_formatted(format_count, 999, "999");
    assert_formatted(format_count, 1000, "1.0k");
    assert_formatted(format_count, 41234, "41.2k");
    assert_formatted(format_count, 999949, "999.9k");
    assert_formatted(format_count, 999950, "1.0M");
    assert_formatted(format_count, 1300000, "1.3M");
    assert_formatted(format_bytes, 512, "512 B");
    assert_formatted(format_bytes, 1536, "1.5 KiB");
    assert_formatted(format_bytes, 4LL << 30, "4.0 GiB");
    setenv("TZ", "UTC", 1);
    tzset();
    assert_formatted(format_time, 1763920740123, "17:59:00");
    assert_formatted(format_date, 1763920740123, "2025-11-23");
}

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
    static const char *const header[] = {"ID", "STATE", "PROMPT"};
    struct table table;
    AUTO_BUF struct buf out;
    buf_init(&out, 4096);
    table_init(&table, 3, header);
    table_add(&table, STYLE_PLAIN, "task-abc123");
    table_add(&table, STYLE_GREEN, "completed");
    table_add(&table, STYLE_PLAIN, "Add \u6f22\u5b57 pagination\nto the API");
    table_add(&table, STYLE_PLAIN, "\u6f22\u5b57");
    table_add(&table, STYLE_PLAIN, NULL);
    table_add(&table, STYLE_PLAIN, "x\x1b[2J");
    table_append(&table, 40, false, &out);
    assert_string_equal(out.data, "ID           STATE      PROMPT\n"
                                  "task-abc123  completed  Add \u6f22\u5b57 pagi...\n"
                                  "\u6f22\u5b57         -          x\n");
    buf_clear(&out);
    table_append(&table, SIZE_MAX, true, &out);
    assert_non_null(strstr(out.data, "\x1b[1mID\x1b[0m           "));
    assert_non_null(strstr(out.data, "\x1b[32mcompleted\x1b[0m  Add \u6f22\u5b57 pagination...\n"));
    table_release(&table);
}

static void commits_are_digits_or_nothing(void **state)
{
    char out[8];
    short_commit("0123456789abcdef0123456789abcdef01234567", out);
    assert_string_equal(out, "0123456");
    short_commit("0123\x1b[2J", out);
    assert_string_equal(out, "?");
    short_commit(NULL, out);
    assert_string_equal(out, "?");
}

/* What the screen writes for LINES and BLOCK, read back from a pipe. */
static char *drawn(struct screen *screen, const char *lines, const char *block, size_t columns)
{
    static char out[4096];
    int ends[2];
    struct err err;
    AUTO_BUF struct buf lines_buf, block_buf;
    buf_init(&lines_buf, 1000);
    buf_init(&block_buf, 1000);
    buf_append_str(&lines_buf, lines);
    buf_append_str(&block_buf, block);
    assert_int_equal(pipe(ends), 0);
    screen->fd = ends[1];
    assert_int_equal(screen_update(screen, &lines_buf, &block_buf, columns, &err), 0);
    close(ends[1]);
    ssize_t n = read(ends[0], out, sizeof out - 1);
    close(ends[0]);
    assert_true(n >= 0);
    out[n] = '\0';
    return out;
}

static void the_block_is_replaced_also_after_the_terminal_became_narrower(void **state)
{
    struct screen screen = {.fd = -1};
    assert_string_equal(drawn(&screen, "log\n", "one\n\x1b[1mtwo two two\x1b[0m\n", 40),
                        "\r\x1b[Jlog\none\n\x1b[1mtwo two two\x1b[0m\n");
    assert_string_equal(drawn(&screen, "", "next\n", 40), "\r\x1b[2A\x1b[Jnext\n");
    drawn(&screen, "", "12345678901\nabc\n", 40);
    assert_string_equal(drawn(&screen, "", "x\n", 5), "\r\x1b[4A\x1b[Jx\n"); /* 3 rows and 1 */
    screen_forget(&screen);
    assert_string_equal(drawn(&screen, "", "y\n", 40), "\r\x1b[Jy\n");
}

static int group_setup(void **state)
{
    text_init();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_programs_write_becomes_what_a_terminal_would_have_shown),
        cmocka_unit_test(what_is_left_of_controls_is_shown_and_obeyed_by_nobody),
        cmocka_unit_test(a_control_string_cannot_hide_much),
        cmocka_unit_test(width_is_in_columns),
        cmocka_unit_test(lines_are_cut_between_characters),
        cmocka_unit_test(figures_are_short),
        cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
        cmocka_unit_test(commits_are_digits_or_nothing),
        cmocka_unit_test(the_block_is_replaced_also_after_the_terminal_became_narrower),
    };
    return cmocka_run_group_tests(tests, group_setup, NULL);
}
