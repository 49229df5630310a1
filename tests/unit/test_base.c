#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/json_text.h"
#include "base/process.h"
#include "base/refname.h"
#include "base/str.h"

static void buf_grows_to_its_maximum_and_no_further(void **state)
{
    struct buf buf;
    buf_init(&buf, 10);
    assert_string_equal(buf.data, "");
    assert_int_equal(buf_append(&buf, "0123456789", 10), 0);
    assert_int_equal(buf_append(&buf, "x", 1), -ERANGE);
    assert_int_equal(buf_appendf(&buf, "%d", 7), -ERANGE);
    assert_string_equal(buf.data, "0123456789");
    buf_consume(&buf, 4);
    assert_string_equal(buf.data, "456789");
    AUTO_FREE char *stolen = buf_steal(&buf, NULL);
    assert_string_equal(stolen, "456789");
    assert_int_equal(buf.len, 0);
    buf_release(&buf);
}

static void buf_is_a_string_also_when_reserved_room_is_not_used(void **state)
{
    struct buf buf;
    buf_init(&buf, 2000);
    mallopt(M_PERTURB, 0x55); /* new memory is not zero */
    assert_non_null(buf_reserve(&buf, 1000));
    mallopt(M_PERTURB, 0);
    assert_string_equal(buf.data, "");
    buf_release(&buf);
}

static void durations_are_read_strictly(void **state)
{
    assert_int_equal(clock_parse_duration_ms("90"), 90000);
    assert_int_equal(clock_parse_duration_ms("15m"), 900000);
    assert_int_equal(clock_parse_duration_ms("8h"), 28800000);
    const char *bad[] = {"",   "0", "-1", "1.5h", "h", "8hours", "1h2", "99999999999999999999",
                         "31d"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_true(clock_parse_duration_ms(bad[i]) < 0);
}

static void sizes_and_shares_are_read_strictly(void **state)
{
    uint64_t bytes;
    uint32_t milli;
    assert_int_equal(str_parse_size("4096", &bytes), 0);
    assert_int_equal(bytes, 4096);
    assert_int_equal(str_parse_size("512M", &bytes), 0);
    assert_int_equal(bytes, 512ULL << 20);
    assert_int_equal(str_parse_size("4g", &bytes), 0);
    assert_int_equal(bytes, 4ULL << 30);
    const char *bad_sizes[] = {
        "", "0", "-1", "M", "1X", "1MB", "1.5G", "9223372036854775808", "9999999T"};
    for (size_t i = 0; i < sizeof bad_sizes / sizeof *bad_sizes; i++)
        assert_int_equal(str_parse_size(bad_sizes[i], &bytes), -EINVAL);
    assert_int_equal(str_parse_milli("2", 64000, &milli), 0);
    assert_int_equal(milli, 2000);
    assert_int_equal(str_parse_milli("0.25", 64000, &milli), 0);
    assert_int_equal(milli, 250);
    const char *bad_shares[] = {"",   "0",      "0.0", "-1",  ".5",
                                "1.", "1.2345", "65",  "1e3", "9999999999"};
    for (size_t i = 0; i < sizeof bad_shares / sizeof *bad_shares; i++)
        assert_int_equal(str_parse_milli(bad_shares[i], 64000, &milli), -EINVAL);
}

static void times_are_rfc3339_in_utc(void **state)
{
    char when[CLOCK_RFC3339_SIZE];
    clock_rfc3339(1763920740123, when);
    assert_string_equal(when, "2025-11-23T17:59:00.123Z");
    assert_int_equal(clock_parse_rfc3339(when), 1763920740123);
    assert_int_equal(clock_parse_rfc3339("2025-11-23T17:59:00Z"), 1763920740000);
    assert_int_equal(clock_parse_rfc3339("2025-11-23T17:59:00.5Z"), 1763920740500);
    assert_int_equal(clock_parse_rfc3339("2025-11-23T17:59:00.123456789Z"), 1763920740123);
    const char *bad[] = {"",
                         "2025-11-23",
                         "2025-11-23T17:59:00",
                         "2025-11-23T17:59:00.Z",
                         "2025-11-23T17:59:00+01:00",
                         "2025-13-23T17:59:00Z",
                         "2025-11-23T17:59:00Zx"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_true(clock_parse_rfc3339(bad[i]) < 0);
}

static void outside_bytes_become_valid_utf8(void **state)
{
    struct buf out;
    buf_init(&out, 64);
    assert_int_equal(str_append_utf8(&out, "a\xff\xc3\xa9\0\xed\xa0\x80", 8), 8);
    assert_string_equal(out.data,
                        "a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    buf_release(&out);
    buf_init(&out, 2);
    assert_int_equal(str_append_utf8(&out, "a\xc3\xa9", 3), 1);
    assert_string_equal(out.data, "a");
    buf_release(&out);
    assert_int_equal(str_utf8_unfinished("a\xc3", 2), 1);
    assert_int_equal(str_utf8_unfinished("a\xc3\xa9", 3), 0);
    assert_int_equal(str_utf8_unfinished("\xf0\x9f\x98", 3), 3);
    assert_int_equal(str_utf8_unfinished("\xf0\x9f\x98\x80", 4), 0);
    assert_int_equal(str_utf8_unfinished("\x80\x80\x80\x80", 4), 0);
    assert_int_equal(str_utf8_unfinished("", 0), 0);
}

static void terminal_escapes_are_made_inert(void **state)
{
    struct buf out;
    buf_init(&out, 64);
    str_append_terminal_safe(&out, "a\x1b[2J\n\xc2\x9b\x7f\xc3\xa9");
    assert_string_equal(out.data, "a\\x1b[2J\n\\x9b\\x7f\xc3\xa9");
    buf_clear(&out);
    str_append_terminal_safe(&out, "\u202e\u2066\u061c\u200f|\u2026\u200d");
    assert_string_equal(out.data, "\\u202e\\u2066\\u061c\\u200f|\u2026\u200d");
    buf_release(&out);
}

static void a_tree_is_removed_without_following_links(void **state)
{
    char top[] = "/tmp/codex-test-XXXXXX";
    assert_non_null(mkdtemp(top));
    AUTO_FREE char *keep = str_format("%s/keep", top);
    AUTO_FREE char *tree = str_format("%s/tree", top);
    AUTO_FREE char *link = str_format("%s/tree/link", top);
    struct err err;
    assert_int_equal(io_make_dirs(keep, 0755, &err), 0);
    assert_int_equal(io_make_dirs(tree, 0755, &err), 0);
    assert_int_equal(symlink(keep, link), 0);

    /* Deeper than a path can name. */
    int at = open(tree, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < 3000; i++) {
        assert_int_equal(mkdirat(at, "ddddd", 0755), 0);
        int next = openat(at, "ddddd", O_RDONLY | O_DIRECTORY);
        int file = openat(at, "f", O_WRONLY | O_CREAT, 0600);
        close(file);
        close(at);
        at = next;
    }
    close(at);
    if (io_remove_tree_at(AT_FDCWD, tree, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(access(tree, F_OK), -1);
    assert_int_equal(access(keep, F_OK), 0);
    assert_int_equal(io_remove_tree_at(AT_FDCWD, top, &err), 0);
}

static void descriptors_pass_through_a_socket(void **state)
{
    int pair[2], fds[IO_MAX_FDS];
    struct err err;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    AUTO_FD int memory = io_memfd("t", "hello", 5, &err);
    assert_true(memory >= 0);
    assert_int_equal(io_send_fds(pair[0], "x", 1, &memory, 1, &err), 0);
    char byte;
    size_t count;
    assert_int_equal(io_recv_fds(pair[1], &byte, 1, fds, &count, &err), 1);
    assert_int_equal(count, 1);
    struct buf text;
    buf_init(&text, 16);
    assert_int_equal(io_read_all(fds[0], &text, &err), 0);
    assert_string_equal(text.data, "hello");
    assert_int_equal(write(fds[0], "x", 1), -1);
    buf_release(&text);
    close(fds[0]);

    /* A message that does not fit is refused whole, and its descriptors are closed. */
    assert_int_equal(io_send_fds(pair[0], "long", 4, &memory, 1, &err), 0);
    assert_int_equal(io_recv_fds(pair[1], &byte, 1, fds, &count, &err), ERR_PROTOCOL);
    assert_int_equal(count, 0);
    close(pair[0]);
    close(pair[1]);
}

static void programs_run_with_only_the_named_descriptors(void **state)
{
    struct err err;
    struct buf out;
    buf_init(&out, 4096);
    int leak = open("/dev/null", O_RDONLY); /* not CLOEXEC */
    assert_true(leak >= 0);
    const char *argv[] = {"sh", "-c", "ls /proc/self/fd; exit 3", NULL};
    assert_int_equal(process_run(argv, -1, &out, &err), 3);
    assert_string_equal(out.data, "0\n1\n2\n3\n"); /* 3 is ls's own directory */
    close(leak);
    const char *missing[] = {"/nonexistent/program", NULL};
    assert_int_equal(process_run(missing, -1, NULL, &err), -ENOENT);
    assert_string_equal(err.message,
                        "cannot run '/nonexistent/program': No such file or directory");
    buf_release(&out);
}

static void ignore_signal(int signal)
{
}

static int refuse(void *arg)
{
    return -EDOM;
}

static void a_child_that_shares_memory_until_exec(void **state)
{
    struct err err;
    struct sigaction before, handler = {.sa_handler = ignore_signal};
    sigaction(SIGUSR1, &handler, &before);
    const char *argv[] = {"sh", "-c", "kill -USR1 $$; exit 3", NULL};
    struct process_options options = {.argv = argv, .share_memory = true};
    pid_t pid = process_spawn(&options, &err);
    assert_true(pid > 0);
    int status = process_wait(pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
    sigaction(SIGUSR1, &before, NULL);

    options.prepare = refuse;
    assert_int_equal(process_spawn(&options, &err), -EDOM);
    const char *missing[] = {"/nonexistent/program", NULL};
    options = (struct process_options){.argv = missing, .share_memory = true};
    assert_int_equal(process_spawn(&options, &err), -ENOENT);
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    assert_false(sigismember(&mask, SIGTERM));
}

static void branch_names_are_those_of_git(void **state)
{
    static const char *const good[] = {"x",    "feat/add-pagination", "a.b", "ü", "a@b", "lock",
                                       "a/b.c"};
    static const char *const bad[] = {"",     "-x",   "a b",    "a..b",     "a//b", "/a", "a/",
                                      ".a",   "a/.b", "a.lock", "a.lock/b", "a.",   "a~", "a^",
                                      "a:b",  "a?",   "a*",     "a[",       "a\\b", "@",  "a@{b",
                                      "HEAD", "a\tb", "a\x7f",  "a\nb"};
    struct err err;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_int_equal(refname_check_branch(good[i], &err), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(refname_check_branch(bad[i], &err), ERR_USAGE);
    char longest[REFNAME_MAX_BYTES + 2];
    memset(longest, 'a', sizeof longest);
    longest[REFNAME_MAX_BYTES + 1] = '\0';
    assert_int_equal(refname_check_branch(longest, &err), ERR_USAGE);
    longest[REFNAME_MAX_BYTES] = '\0';
    assert_int_equal(refname_check_branch(longest, &err), 0);
}

static void assert_member(const char *object, const char *name, const char *expected)
{
    struct json_span value = {"", 0};
    bool found = json_text_member((struct json_span){object, strlen(object)}, name, &value);
    assert_int_equal(found, expected != NULL);
    if (expected) {
        assert_int_equal(value.len, strlen(expected));
        assert_memory_equal(value.at, expected, value.len);
    }
}

static void raw_members_are_found_in_json(void **state)
{
    static const char object[] = " { \"a\":1, \"b\" : {\"c\":[\"}\\\"]\", 2]} ,\"a "
                                 "\":\"x\",\"d\":-1.50e3 , \"e\":[ ],\"f\":null}";
    assert_member(object, "a", "1");
    assert_member(object, "b", "{\"c\":[\"}\\\"]\", 2]}");
    assert_member(object, "a ", "\"x\"");
    assert_member(object, "d", "-1.50e3");
    assert_member(object, "e", "[ ]");
    assert_member(object, "f", "null");
    assert_member(object, "c", NULL); /* of an inner object */
    assert_member(object, "", NULL);
    assert_member("{}", "a", NULL);
    assert_member(" { } ", "a", NULL);
}

static void raw_elements_are_walked(void **state)
{
    static const char array[] = " [ {\"a\":[1,2]} ,\"]\", 3,[] ] ";
    static const char *const expected[] = {"{\"a\":[1,2]}", "\"]\"", "3", "[]"};
    struct json_span span = {array, sizeof array - 1}, value;
    size_t offset = 0;
    for (size_t i = 0; i < 4; i++) {
        assert_true(json_text_element(span, &offset, &value));
        assert_int_equal(value.len, strlen(expected[i]));
        assert_memory_equal(value.at, expected[i], value.len);
    }
    assert_false(json_text_element(span, &offset, &value));
    offset = 0;
    assert_false(json_text_element((struct json_span){"[ ]", 3}, &offset, &value));
}

/* What no parser has seen may be misread, but never past its end (the sanitizers watch). */
static void text_that_is_not_json_stays_within_its_bytes(void **state)
{
    static const char text[] = "{\"a\":{\"b\":[1,\"\\";
    for (size_t len = 0; len < sizeof text; len++) {
        AUTO_FREE char *copy = malloc(len); /* exactly: one byte more would hide a read past it */
        memcpy(copy, text, len);
        struct json_span span = {copy, len}, value;
        size_t offset = 0;
        json_text_member(span, "b", &value);
        while (json_text_element(span, &offset, &value))
            assert_true(value.at >= copy && value.at + value.len <= copy + len);
    }
}

static void programs_are_found_by_path(void **state)
{
    assert_true(process_in_path("/usr/bin:/bin", "sh"));
    assert_true(process_in_path("/nowhere::/bin", "sh"));
    assert_false(process_in_path("/usr/bin:/bin", "no-such-program"));
    assert_false(process_in_path("/nowhere", "sh"));
    assert_false(process_in_path("", "sh"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs_are_found_by_path),
        cmocka_unit_test(buf_grows_to_its_maximum_and_no_further),
        cmocka_unit_test(buf_is_a_string_also_when_reserved_room_is_not_used),
        cmocka_unit_test(durations_are_read_strictly),
        cmocka_unit_test(sizes_and_shares_are_read_strictly),
        cmocka_unit_test(times_are_rfc3339_in_utc),
        cmocka_unit_test(outside_bytes_become_valid_utf8),
        cmocka_unit_test(terminal_escapes_are_made_inert),
        cmocka_unit_test(a_tree_is_removed_without_following_links),
        cmocka_unit_test(descriptors_pass_through_a_socket),
        cmocka_unit_test(programs_run_with_only_the_named_descriptors),
        cmocka_unit_test(a_child_that_shares_memory_until_exec),
        cmocka_unit_test(branch_names_are_those_of_git),
        cmocka_unit_test(raw_members_are_found_in_json),
        cmocka_unit_test(raw_elements_are_walked),
        cmocka_unit_test(text_that_is_not_json_stays_within_its_bytes),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
