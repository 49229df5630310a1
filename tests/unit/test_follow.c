/* Event files: how they are followed, and what becomes of a line. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "orchestrator/follow.h"
#include "orchestrator/run_event.h"
#include "task/exit.h"

struct reader {
    struct loop *loop;
    struct followers *followers;
    struct follower *follower;
    char path[64];
    int fd;
    struct buf lines;
    int64_t end;      /* offset behind what was taken */
    int fail;         /* so many times, before anything is taken */
    size_t take;      /* at most so many bytes at once; 0: all */
    bool end_at_stop; /* a line "stop" is the last that matters */
    int idle, troubles;
};

static int take_lines(void *arg, const char *lines, size_t len, int64_t offset, size_t *consumed,
                      bool *ended, struct err *err)
{
    struct reader *reader = arg;
    assert_int_equal(lines[len - 1], '\n');
    if (reader->fail) {
        reader->fail--;
        return err_set(err, -ENOSPC, "full");
    }
    if (reader->take && reader->take < len)
        len = (size_t)((char *)memchr(lines, '\n', len) - lines) + 1;
    buf_append(&reader->lines, lines, len);
    reader->end = offset + (int64_t)len;
    *consumed = len;
    *ended = reader->end_at_stop && strstr(reader->lines.data, "stop\n");
    return reader->take ? err_set(err, -EIO, "only one") : 0;
}

static void on_idle(void *arg)
{
    ((struct reader *)arg)->idle++;
}

static void on_trouble(void *arg, const struct err *err)
{
    ((struct reader *)arg)->troubles++;
}

static int setup(void **state)
{
    struct reader *reader = calloc(1, sizeof *reader);
    reader->loop = loop_new(NULL);
    reader->followers = followers_new(reader->loop);
    strcpy(reader->path, "/tmp/test-follow-XXXXXX");
    reader->fd = mkstemp(reader->path);
    buf_init(&reader->lines, 64 << 20);
    *state = reader;
    return reader->fd < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    struct reader *reader = *state;
    follower_free(reader->follower);
    followers_free(reader->followers);
    loop_free(reader->loop);
    buf_release(&reader->lines);
    close(reader->fd);
    unlink(reader->path);
    free(reader);
    return 0;
}

static void follow_from(struct reader *reader, int64_t offset)
{
    struct follow_options options = {take_lines, on_idle, on_trouble, reader};
    reader->follower = follower_new(reader->followers, reader->path, offset, &options, NULL);
    assert_non_null(reader->follower);
}

static void say(struct reader *reader, const char *bytes)
{
    size_t len = strlen(bytes);
    assert_int_equal(write(reader->fd, bytes, len), len);
}

static void wait_for(struct reader *reader, const char *lines)
{
    int64_t deadline = clock_mono_ms() + 10000;
    while (strcmp(reader->lines.data, lines) && clock_mono_ms() < deadline)
        loop_run_once(reader->loop, 50, NULL);
    assert_string_equal(reader->lines.data, lines);
}

static void lines_come_once_and_whole(void **state)
{
    struct reader *reader = *state;
    say(reader, "before\n");
    follow_from(reader, 7);
    say(reader, "one\ntw");
    wait_for(reader, "one\n");
    say(reader, "o\nthree\n");
    wait_for(reader, "one\ntwo\nthree\n");
    assert_int_equal(reader->end, 7 + 4 + 4 + 6);
    assert_false(follower_is_empty(reader->follower));
    assert_true(reader->idle > 0);
}

static void what_failed_comes_again(void **state)
{
    struct reader *reader = *state;
    reader->fail = 2;
    say(reader, "one\ntwo\n");
    follow_from(reader, 0);
    wait_for(reader, "one\ntwo\n");
    assert_int_equal(reader->troubles, 2);
}

static void what_was_taken_before_a_failure_does_not(void **state)
{
    struct reader *reader = *state;
    reader->take = 1;
    say(reader, "one\ntwo\n");
    follow_from(reader, 0);
    wait_for(reader, "one\ntwo\n");
    assert_int_equal(reader->end, 8);
}

static void nothing_comes_after_the_end(void **state)
{
    struct reader *reader = *state;
    reader->end_at_stop = true;
    say(reader, "one\nstop\n");
    follow_from(reader, 0);
    wait_for(reader, "one\nstop\n");
    say(reader, "more\n");
    follower_poke(reader->follower);
    for (int i = 0; i < 10; i++)
        loop_run_once(reader->loop, 20, NULL);
    assert_string_equal(reader->lines.data, "one\nstop\n");
}

static void a_line_that_is_too_long_is_passed_over(void **state)
{
    struct reader *reader = *state;
    size_t len = (size_t)FOLLOW_LINE_MAX * 2 + 12345;
    AUTO_FREE char *flood = malloc(len + 1);
    memset(flood, 'x', len);
    flood[len] = '\0';
    say(reader, "one\n");
    say(reader, flood);
    follow_from(reader, 0);
    wait_for(reader, "one\n");
    say(reader, "\ntwo\n");
    wait_for(reader, "one\ntwo\n");
    assert_int_equal(reader->end, 4 + len + 1 + 4);
}

static void a_long_file_comes_whole(void **state)
{
    struct reader *reader = *state;
    struct buf all;
    buf_init(&all, 16 << 20);
    for (int i = 0; i < 100000; i++)
        buf_appendf(&all, "line number %d\n", i);
    say(reader, all.data);
    follow_from(reader, 0);
    wait_for(reader, all.data);
    buf_release(&all);
}

/* --- lines --- */

static struct run_event parse(const char *line)
{
    struct run_event event;
    struct err err = {0};
    if (run_event_parse(line, strlen(line), &event, &err) < 0)
        fail_msg("%s", err.message);
    return event;
}

static void refuse(const char *line)
{
    struct run_event event;
    assert_int_equal(run_event_parse(line, strlen(line), &event, NULL), ERR_PROTOCOL);
}

static void events_keep_their_members(void **state)
{
    struct run_event event = parse(
        "{\"ts\":\"2026-01-01T00:00:00.000Z\",\"type\":\"item.updated\",\"phase\":\"working\","
        "\"seq\":9,"
        "\"task\":\"task-other\",\"run\":7,\"item\":{\"b\":[1,2.5,null],\"a\":\"\\u0000é\"}}");
    assert_int_equal(event.kind, RUN_EVENT_OTHER);
    assert_int_equal(event.phase, PHASE_WORKING);
    assert_string_equal(event.ts, "2026-01-01T00:00:00.000Z");
    /* Ours are left out, so that nobody can pass for another task or run. */
    assert_string_equal(event.members.data,
                        ",\"item\":{\"b\":[1,2.5,null],\"a\":\"\\u0000\xc3\xa9\"}");
    run_event_release(&event);
}

static void events_that_are_none(void **state)
{
    static const char *const bad[] = {
        "",
        "x",
        "[]",
        "{}",
        "{\"type\":5}",
        "{\"type\":\"\"}",
        "{\"type\":\"task.state\"}",
        "{\"type\":\"delivery.branch\"}",
        "{\"type\":\"A B\"}",
        "{\"type\":\"item.started\",\"type\":\"run.ended\"}",
        "{\"type\":\"error\"",
        "{\"type\":\"error\"}{}",
        "{\"type\":\"error\",\"n\":99999999999999999999}",
        "{\"type\":\"error\",\"message\":\"\xff\"}",
        "{\"type\":\"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklm\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuse(bad[i]);
    AUTO_FREE char *deep = malloc(20100);
    strcpy(deep, "{\"type\":\"error\",\"message\":");
    memset(deep + strlen(deep), '[', 20000);
    deep[20020] = '\0';
    refuse(deep);
}

static void effects_are_read_with_care(void **state)
{
    struct run_event event =
        parse("{\"type\":\"run.ended\",\"outcome\":\"failed\",\"changed\":true,"
              "\"fault\":{\"kind\":\"model\",\"step\":\"working\",\"message\":\"m\"},"
              "\"archive\":{\"size_bytes\":3,\"sha256\":\"ab\"}}");
    assert_int_equal(event.kind, RUN_EVENT_ENDED);
    assert_int_equal(event.outcome, RUN_FAILED);
    assert_true(event.changed && event.has_archive);
    assert_int_equal(event.fault, FAULT_MODEL);
    run_event_release(&event);

    event =
        parse("{\"type\":\"run.ended\",\"outcome\":7,\"changed\":1,\"fault\":[],\"archive\":{}}");
    assert_int_equal(event.outcome, RUN_OUTCOME_COUNT);
    assert_false(event.changed || event.has_archive);
    assert_int_equal(event.fault, FAULT_NONE);
    run_event_release(&event);

    event =
        parse("{\"type\":\"model.usage\",\"usage\":{\"input_tokens\":5,\"output_tokens\":-1,"
              "\"cached_input_tokens\":9223372036854775807,\"reasoning_output_tokens\":\"x\"}}");
    assert_int_equal(event.kind, RUN_EVENT_USAGE);
    assert_int_equal(event.usage.input_tokens, 5);
    assert_int_equal(event.usage.output_tokens, 0);
    assert_int_equal(event.usage.cached_input_tokens, 0);
    assert_int_equal(event.usage.reasoning_output_tokens, 0);
    run_event_release(&event);

    event = parse(
        "{\"type\":\"item.started\",\"item\":{\"type\":\"command_execution\",\"command\":\"ls\"}}");
    assert_int_equal(event.kind, RUN_EVENT_COMMAND_STARTED);
    assert_string_equal(event.command, "ls");
    run_event_release(&event);
    event = parse(
        "{\"type\":\"item.started\",\"item\":{\"type\":\"command_execution\",\"command\":3}}");
    assert_int_equal(event.kind, RUN_EVENT_OTHER);
    run_event_release(&event);

    event = parse(
        "{\"type\":\"phase.completed\",\"phase\":\"verifying\",\"status\":1,\"duration_ms\":9,"
        "\"result\":{\"command\":\"make\",\"exit_code\":2,\"output_tail\":\"boo\"}}");
    struct test_result result;
    run_event_test_result(&event, &result);
    assert_true(result.known);
    assert_int_equal(result.status, TEST_FAILED);
    assert_int_equal(result.exit_code, 2);
    assert_int_equal(result.duration_ms, 9);
    assert_string_equal(result.output_tail, "boo");
    test_result_release(&result);
    run_event_release(&event);
    event =
        parse("{\"type\":\"phase.completed\",\"phase\":\"x\",\"status\":\"0\",\"result\":null}");
    assert_int_equal(event.phase, PHASE_COUNT);
    assert_int_equal(event.status, -1);
    assert_null(event.result);
    run_event_release(&event);
}

int main(void)
{
#define following(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        following(lines_come_once_and_whole),
        following(what_failed_comes_again),
        following(what_was_taken_before_a_failure_does_not),
        following(nothing_comes_after_the_end),
        following(a_line_that_is_too_long_is_passed_over),
        following(a_long_file_comes_whole),
        cmocka_unit_test(events_keep_their_members),
        cmocka_unit_test(events_that_are_none),
        cmocka_unit_test(effects_are_read_with_care),
    };
    return cmocka_run_group_tests_name("follow", tests, NULL, NULL);
}
