/*
 * Results of single tests, read from what the real runners print: results/NAME.txt is the output,
 * results/NAME.expected the list that is to come of it, or "unreadable". Then what the hostile
 * print, and the list itself.
 */
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "workspace/junit.h"
#include "workspace/results.h"

enum { FILE_MAX = 8 << 20 };

static const struct timespec ever = {0, 0};

static void read_file(const char *path, struct buf *out)
{
    struct err err;
    buf_init(out, FILE_MAX);
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        assert_int_equal(io_read_all(fd, out, &err), 0);
}

/* TEXT in pieces of STEP bytes. */
static bool read_text(const char *text, size_t len, size_t step, struct test_list *list)
{
    struct results *results = results_new();
    for (size_t at = 0; at < len; at += step)
        results_feed(results, text + at, len - at < step ? len - at : step);
    bool known = results_end(results, "/nonexistent", &ever, list);
    results_free(results);
    return known;
}

static void write_out(bool known, const struct test_list *list, struct buf *out)
{
    buf_init(out, FILE_MAX);
    if (known)
        test_list_write(list, out);
    else
        buf_append_str(out, "unreadable\n");
}

static void check_sample(const char *name)
{
    AUTO_FREE char *text_path = str_format("%s/%s.txt", RESULTS_DIR, name);
    AUTO_FREE char *expected_path = str_format("%s/%s.expected", RESULTS_DIR, name);
    AUTO_BUF struct buf text, expected;
    read_file(text_path, &text);
    read_file(expected_path, &expected);
    static const size_t steps[] = {1 << 20, 1, 7};
    for (size_t i = 0; i < 3; i++) {
        AUTO_BUF struct buf got;
        struct test_list list;
        bool known = read_text(text.data, text.len, steps[i], &list);
        write_out(known, &list, &got);
        if (strcmp(got.data, expected.data) != 0)
            fail_msg("%s:\n%s", name, got.data);
        test_list_release(&list);
    }
}

static void real_outputs_are_read(void **state)
{
    AUTO_DIR DIR *dir = opendir(RESULTS_DIR);
    assert_non_null(dir);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!str_ends_with(entry->d_name, ".txt"))
            continue;
        AUTO_FREE char *name = str_format("%.*s", (int)strlen(entry->d_name) - 4, entry->d_name);
        check_sample(name);
        count++;
    }
    assert_true(count >= 25);
}

/* A part of any output must never be read as a whole list with fewer tests: what is cut off is seen
 * to be so, but where nothing of the tests is there yet, or all of it. (Between two packages of go
 * test nothing says that there is another one: there the end of the command tells.) */
static void an_output_that_is_cut_off_is_not_taken_for_whole(void **state)
{
    static const char *const names[] = {"pytest", "unittest-ok", "mocha-ok",    "jest-2",
                                        "cargo",  "ctest",       "meson",       "node20",
                                        "vitest", "prove-v",     "pytest-xdist"};
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
        AUTO_FREE char *path = str_format("%s/%s.txt", RESULTS_DIR, names[n]);
        AUTO_BUF struct buf text;
        read_file(path, &text);
        struct test_list whole, part;
        assert_true(read_text(text.data, text.len, text.len, &whole));
        for (size_t len = 0; len < text.len; len++) {
            if (len && text.data[len - 1] != '\n')
                continue;
            bool known = read_text(text.data, len, len ? len : 1, &part);
            if (known && !part.cut && part.count < whole.count && !whole.cut)
                fail_msg("%s, cut at %zu of %zu: %zu tests of %zu", names[n], len, text.len,
                         part.count, whole.count);
            test_list_release(&part);
        }
        test_list_release(&whole);
    }
}

static bool known(const char *text)
{
    struct test_list list;
    bool result = read_text(text, strlen(text), 4096, &list);
    test_list_release(&list);
    return result;
}

static void contradictions_are_unreadable(void **state)
{
    static const char good[] = "==== test session starts ====\na.py::x PASSED [ 50%]\n"
                               "a.py::y FAILED [100%]\n==== 1 failed, 1 passed in 0.1s ====\n";
    assert_true(known(good));
    static const char *const bad[] = {
        "==== test session starts ====\na.py::x PASSED\n==== 2 passed in 0.1s ====\n",
        "==== test session starts ====\na.py::x PASSED\n",
        "==== test session starts ====\n==== test session starts ====\na.py::x PASSED\n"
        "==== 1 passed in 0.1s ====\n",
        "test_x (a.T.test_x) ... ok\nRan 2 tests in 0.1s\n\nOK\n",
        "  m\n    ✔ a\n\n  2 passing (1ms)\n",
        "PASS a.js\n  ✓ x\n\nTests:       2 passed, 2 total\n",
        "running 2 tests\ntest a ... ok\n\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 m\n",
        "running 2 tests\ntest a ... ok\n",
        "=== RUN   TestX\n",
        "=== RUN   TestX\nok  \tx\t0.1s\n",
        "ok  \tx\t0.1s\n",
        "Test project /x\n1/1 Test #1: a ...   Passed    0.01 sec\n",
        "Test project /x\n1/1 Test #1: a ...   Passed    0.01 sec\n"
        "0% tests passed, 1 tests failed out of 1\nTotal Test time (real) = 1 sec\n",
        "ok 1 - a\n1..2\n",
        "1..1\nok 1\nok 2\n",
        "t/a.t .. ok\nFiles=2, Tests=1,  1 wallclock secs\n",
        /* one that can be read does not make up for one that cannot */
        "==== test session starts ====\na.py::x PASSED\n==== 1 passed in 0.1s ====\n"
        "running 1 test\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (known(bad[i]))
            fail_msg("was read: %s", bad[i]);
    assert_false(known(""));
    assert_false(known("make: Nothing to be done for 'test'.\nok\n"));
    assert_false(known("the numbers are\n1..10\n"));
}

static void hostile_output_stays_within_bounds(void **state)
{
    AUTO_BUF struct buf text;
    buf_init(&text, 64 << 20);
    /* more tests than fit, in names that are too long */
    buf_appendf(&text, "1..%d\n", TEST_LIST_MAX + 10);
    for (int i = 1; i <= TEST_LIST_MAX + 10; i++)
        buf_appendf(&text, "ok %d - %0*d\n", i, i % 100 ? 20 : 2000, i);
    struct test_list list;
    assert_true(read_text(text.data, text.len, 65536, &list));
    assert_true(list.full && list.count <= TEST_LIST_MAX && list.bytes <= TEST_LIST_BYTES_MAX);
    for (size_t i = 0; i < list.count; i++)
        assert_true(strlen(list.cases[i].name) <= TEST_NAME_MAX);
    test_list_release(&list);
    /* a line without an end, control characters, bytes that are no text */
    buf_clear(&text);
    buf_append_str(&text, "1..3\nok 1 - ");
    for (int i = 0; i < 1 << 20; i++)
        buf_append_char(&text, (char)(i * 7));
    buf_append_str(&text, "\nok 2 - \x1b[31mred\x1b[0m \x01\x7f \xff\xfe\nok 3 - a\0b\n");
    if (read_text(text.data, text.len, 1000, &list))
        assert_true(list.count <= 10);
    test_list_release(&list);
    static const char odd[] = "1..1\nok 1 - \x1b[31mred\x1b[0m \x01 \xff\n";
    assert_true(read_text(odd, sizeof odd - 1, 3, &list));
    assert_string_equal(list.cases[0].name, "red   \xef\xbf\xbd");
    test_list_release(&list);
}

static void long_names_stay_different(void **state)
{
    struct test_list list;
    test_list_init(&list);
    char name[2000];
    memset(name, 'x', sizeof name);
    for (char c = 'a'; c < 'f'; c++) {
        name[sizeof name - 1] = c;
        test_list_add(&list, TEST_CASE_PASSED, name, sizeof name);
    }
    test_list_sort(&list);
    assert_int_equal(list.count, 5);
    test_list_release(&list);
}

static bool parses(const char *text)
{
    struct test_list list;
    struct err err;
    int status = test_list_parse(text, strlen(text), &list, &err);
    assert_true(status == 0 || list.count == 0);
    test_list_release(&list);
    return status == 0;
}

static void lists_are_checked_strictly(void **state)
{
    assert_true(parses("codex-tests 1 whole\nend 0\n"));
    assert_true(parses("codex-tests 1 cut\nfailed a\nflaky b c\npassed d\nskipped é\nend 4\n"));
    static const char *const bad[] = {
        "",
        "codex-tests 1 whole\n",
        "codex-tests 2 whole\nend 0\n",
        "codex-tests 1 half\nend 0\n",
        "codex-tests 1 whole\nend 0",
        "codex-tests 1 whole\nend 1\n",
        "codex-tests 1 whole\nend 0\nend 0\n",
        "codex-tests 1 whole\nend 00\n",
        "codex-tests 1 whole\npassed a\nend 0\n",
        "codex-tests 1 whole\npassed b\npassed a\nend 2\n",
        "codex-tests 1 whole\npassed a\nfailed a\nend 2\n",
        "codex-tests 1 whole\npassed \nend 1\n",
        "codex-tests 1 whole\npassed\nend 1\n",
        "codex-tests 1 whole\nbroken a\nend 1\n",
        "codex-tests 1 whole\npassed a\tb\nend 1\n",
        "codex-tests 1 whole\npassed a\x7f\nend 1\n",
        "codex-tests 1 whole\npassed \xff\nend 1\n",
        "codex-tests 1 whole\r\nend 0\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (parses(bad[i]))
            fail_msg("was accepted: %s", bad[i]);
    AUTO_FREE char *fits = str_format("codex-tests 1 whole\npassed %0*d\nend 1\n", 512, 1);
    AUTO_FREE char *does_not = str_format("codex-tests 1 whole\npassed %0*d\nend 1\n", 513, 1);
    assert_true(parses(fits));
    assert_false(parses(does_not));
    struct test_list list;
    struct err err;
    static const char nul[] = "codex-tests 1 whole\npassed a\0b\nend 1\n";
    assert_true(test_list_parse(nul, sizeof nul - 1, &list, &err) < 0);
}

static struct test_list list_of(const char *text)
{
    struct test_list list;
    struct err err;
    AUTO_FREE char *whole = str_format("codex-tests 1 %s", text);
    assert_int_equal(test_list_parse(whole, strlen(whole), &list, &err), 0);
    return list;
}

static void check_changes(const char *before, const char *after,
                          const char *const expected[TEST_CHANGE_COUNT], bool explains)
{
    struct test_list b = list_of(before), a = list_of(after);
    struct test_changes changes;
    test_changes_find(&b, &a, &changes);
    assert_int_equal(changes.compared, expected != NULL);
    for (enum test_change i = 0; expected && i < TEST_CHANGE_COUNT; i++)
        assert_string_equal(changes.of[i].names ? changes.of[i].names : "",
                            expected[i] ? expected[i] : "");
    assert_int_equal(test_changes_explain_failure(&changes, &a), explains);
    test_changes_release(&changes);
    test_list_release(&a);
    test_list_release(&b);
}

static void two_runs_are_compared(void **state)
{
    check_changes(
        "whole\npassed broken\nfailed fixed\npassed flaky\npassed gone\npassed same\nfailed "
        "skipped\nskipped skipped2\nfailed still\nend 8\n",
        "whole\npassed added\nfailed added2\nfailed broken\npassed fixed\nflaky flaky\npassed "
        "same\nskipped skipped\nskipped skipped2\nfailed still\nend 9\n",
        (const char *const[]){[TEST_NEWLY_BROKEN] = "added2\nbroken\n",
                              [TEST_NEWLY_FIXED] = "fixed\n",
                              [TEST_STILL_BROKEN] = "still\n",
                              [TEST_FLAKY] = "flaky\n",
                              [TEST_ADDED] = "added\nadded2\n",
                              [TEST_REMOVED] = "gone\n",
                              [TEST_NEWLY_SKIPPED] = "skipped\n"},
        false);
    static const char *const still[TEST_CHANGE_COUNT] = {[TEST_STILL_BROKEN] = "a\n"};
    check_changes("whole\nfailed a\npassed b\nend 2\n", "whole\nfailed a\npassed b\nend 2\n", still,
                  true);
    check_changes("whole\nfailed a\npassed b\nend 2\n", "cut\nfailed a\nend 1\n", still, false);
    check_changes("cut\nfailed a\nend 1\n", "whole\nfailed a\nend 1\n", NULL, false);
    check_changes("whole\nend 0\n", "whole\nend 0\n", (const char *const[TEST_CHANGE_COUNT]){0},
                  false);
}

static void the_second_run_counts(void **state)
{
    struct test_list before = list_of("whole\npassed a\npassed b\nfailed c\npassed d\nend 4\n");
    struct test_list first =
        list_of("whole\nfailed a\nfailed b\nfailed c\npassed d\nfailed e\nend 5\n");
    struct test_list second =
        list_of("whole\npassed a\nfailed b\npassed c\nfailed d\npassed e\nend 5\n");
    test_list_merge_again(&first, &second, &before);
    AUTO_BUF struct buf text;
    buf_init(&text, 4096);
    test_list_write(&first, &text);
    assert_string_equal(text.data, "codex-tests 1 whole\nflaky a\nfailed b\npassed c\nfailed "
                                   "d\npassed e\nend 5\n");
    test_list_release(&before);
    test_list_release(&first);
    test_list_release(&second);
}

static void names_of_changes_are_bounded(void **state)
{
    struct test_change_names names = {0};
    AUTO_FREE char *name = str_format("%0*d", 500, 1);
    for (int i = 0; i < 1000; i++)
        test_change_names_add(&names, i < 10 ? "short" : name);
    assert_int_equal(names.total, 1000);
    assert_true(names.shown < 100 && strlen(names.names) <= TEST_CHANGE_BYTES_MAX);
    const char *at = NULL, *one;
    size_t len, n = 0;
    while (test_change_names_next(&names, &at, &one, &len))
        n++;
    assert_int_equal(n, names.shown);
    free(names.names);
}

static struct reading read_xml(const char *text, size_t len)
{
    struct reading reading = {0};
    test_list_init(&reading.list);
    struct junit *junit = junit_new(&reading);
    for (size_t i = 0; i < len; i += 5)
        if (!junit_feed(junit, text + i, len - i < 5 ? len - i : 5))
            break;
    junit_end(junit);
    junit_free(junit);
    test_list_sort(&reading.list);
    return reading;
}

static void junit_files_are_read(void **state)
{
    AUTO_BUF struct buf text;
    read_file(RESULTS_DIR "/surefire.xml", &text);
    struct reading reading = read_xml(text.data, text.len);
    AUTO_BUF struct buf got, expected;
    buf_init(&got, FILE_MAX);
    test_list_write(&reading.list, &got);
    read_file(RESULTS_DIR "/surefire.xml.expected", &expected);
    assert_true(reading.seen && !reading.broken);
    assert_string_equal(got.data, expected.data);
    test_list_release(&reading.list);
    AUTO_BUF struct buf pytest;
    read_file(RESULTS_DIR "/pytest-junit.xml", &pytest);
    reading = read_xml(pytest.data, pytest.len);
    assert_true(reading.seen && !reading.broken && reading.list.count == 14);
    assert_int_equal(test_list_find(&reading.list, "test_a.test_fail")->status, TEST_CASE_FAILED);
    assert_int_equal(test_list_find(&reading.list, "test_a.test_xfail")->status, TEST_CASE_SKIPPED);
    assert_int_equal(test_list_find(&reading.list, "test_a.test_error")->status, TEST_CASE_FAILED);
    test_list_release(&reading.list);
}

static void check_xml(const char *text, bool seen, bool broken, size_t count)
{
    struct reading reading = read_xml(text, strlen(text));
    if (reading.seen != seen || reading.broken != broken || reading.list.count != count)
        fail_msg("%.60s: %d %d %zu", text, reading.seen, reading.broken, reading.list.count);
    test_list_release(&reading.list);
}

static void hostile_xml_is_refused(void **state)
{
    check_xml("<testsuite><testcase name='a'/></testsuite>", true, false, 1);
    check_xml("<project><testsuite><testcase name='a'/></testsuite></project>", false, false, 0);
    check_xml("not xml", false, false, 0);
    check_xml("", false, false, 0);
    check_xml("<testsuite><testcase name='a'/>", false, true, 1);
    check_xml("<testsuite><testcase/></testsuite>", true, true, 0);
    /* no entity is expanded, nothing is loaded */
    check_xml("<!DOCTYPE testsuite [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]>"
              "<testsuite><testcase name='&b;'/></testsuite>",
              false, true, 0);
    check_xml("<!DOCTYPE testsuite SYSTEM 'file:///etc/passwd'><testsuite/>", false, true, 0);
    check_xml("<!DOCTYPE html><html/>", false, false, 0);
    check_xml("<testsuite><testcase name='&x;'/></testsuite>", false, true, 0);
    AUTO_BUF struct buf deep;
    buf_init(&deep, 1 << 20);
    for (int i = 0; i < 1000; i++)
        buf_append_str(&deep, "<testsuite>");
    check_xml(deep.data, false, true, 0);
}

static void put(const char *dir, const char *name, const char *text)
{
    struct err err;
    AUTO_FREE char *path = str_format("%s/%s", dir, name);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(io_make_dirs(path, 0755, &err), 0);
    *slash = '/';
    AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_int_equal(io_write_all(fd, text, strlen(text), &err), 0);
}

static void only_new_files_of_the_workspace_count(void **state)
{
    char dir[] = "/tmp/codex-test-XXXXXX", path[PATH_MAX];
    struct err err;
    assert_non_null(mkdtemp(dir));
    static const char xml[] = "<testsuite><testcase classname='C' name='%s'/></testsuite>";
    static const char *const files[] = {"target/surefire-reports/TEST-a.xml",
                                        "module/build/test-results/test/TEST-b.xml",
                                        "node_modules/x/c.xml",
                                        ".git/d.xml",
                                        "e.txt",
                                        "old.xml"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char name[2] = {(char)('a' + i), '\0'};
        AUTO_FREE char *text = str_format(xml, name);
        put(dir, files[i], text);
    }
    put(dir, "pom.xml", "<!DOCTYPE project><project/>");
    const struct timespec long_ago[2] = {{1000, 0}, {1000, 0}};
    snprintf(path, sizeof path, "%s/old.xml", dir);
    assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
    snprintf(path, sizeof path, "%s/pipe.xml", dir);
    assert_int_equal(mkfifo(path, 0644), 0);
    snprintf(path, sizeof path, "%s/link.xml", dir);
    assert_int_equal(symlink("target/surefire-reports/TEST-a.xml", path), 0);
    struct results *results = results_new();
    struct test_list list;
    results_feed(results, "[INFO] BUILD SUCCESS\n", 21);
    assert_true(results_end(results, dir, &(struct timespec){2000, 0}, &list));
    assert_int_equal(list.count, 2);
    assert_string_equal(list.cases[0].name, "C.a");
    assert_string_equal(list.cases[1].name, "C.b");
    test_list_release(&list);
    results_free(results);
    assert_int_equal(io_remove_tree_at(AT_FDCWD, dir, &err), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_outputs_are_read),
        cmocka_unit_test(an_output_that_is_cut_off_is_not_taken_for_whole),
        cmocka_unit_test(contradictions_are_unreadable),
        cmocka_unit_test(hostile_output_stays_within_bounds),
        cmocka_unit_test(long_names_stay_different),
        cmocka_unit_test(lists_are_checked_strictly),
        cmocka_unit_test(two_runs_are_compared),
        cmocka_unit_test(the_second_run_counts),
        cmocka_unit_test(names_of_changes_are_bounded),
        cmocka_unit_test(junit_files_are_read),
        cmocka_unit_test(hostile_xml_is_refused),
        cmocka_unit_test(only_new_files_of_the_workspace_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
