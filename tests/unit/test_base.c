#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/process.h"
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

static void durations_are_read_strictly(void **state)
{
    assert_int_equal(clock_parse_duration_ms("90"), 90000);
    assert_int_equal(clock_parse_duration_ms("15m"), 900000);
    assert_int_equal(clock_parse_duration_ms("8h"), 28800000);
    const char *bad[] = {"", "0", "-1", "1.5h", "h", "8hours", "1h2", "99999999999999999999", "31d"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_true(clock_parse_duration_ms(bad[i]) < 0);
}

static void times_are_rfc3339_in_utc(void **state)
{
    char when[CLOCK_RFC3339_SIZE];
    clock_rfc3339(1763920740123, when);
    assert_string_equal(when, "2025-11-23T17:59:00.123Z");
}

static void outside_bytes_become_valid_utf8(void **state)
{
    struct buf out;
    buf_init(&out, 64);
    assert_int_equal(str_append_utf8(&out, "a\xff\xc3\xa9\0\xed\xa0\x80", 8), 8);
    assert_string_equal(out.data, "a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
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
    assert_string_equal(err.message, "cannot run '/nonexistent/program': No such file or directory");
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_grows_to_its_maximum_and_no_further),
        cmocka_unit_test(durations_are_read_strictly),
        cmocka_unit_test(times_are_rfc3339_in_utc),
        cmocka_unit_test(outside_bytes_become_valid_utf8),
        cmocka_unit_test(terminal_escapes_are_made_inert),
        cmocka_unit_test(a_tree_is_removed_without_following_links),
        cmocka_unit_test(descriptors_pass_through_a_socket),
        cmocka_unit_test(programs_run_with_only_the_named_descriptors),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
