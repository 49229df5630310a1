#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <jansson.h>

#include "agent/events.h"
#include "base/cleanup.h"
#include "base/json_text.h"

/* What the one event that WRITE makes looks like on the wire. */
static char line[1 << 20];

static struct events *open_events(int pipe_fds[2], unsigned session)
{
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    fcntl(pipe_fds[1], F_SETPIPE_SZ, 1 << 20);
    return events_new(pipe_fds[1], session);
}

static json_t *read_event(const int pipe_fds[2])
{
    ssize_t n = read(pipe_fds[0], line, sizeof line - 1);
    assert_true(n > 0);
    line[n] = '\0';
    assert_ptr_equal(strchr(line, '\n'), line + n - 1);
    json_t *event = json_loads(line, 0, NULL);
    assert_non_null(event);
    return event;
}

static const char *item_string(const json_t *event, const char *name)
{
    return json_string_value(json_object_get(json_object_get(event, "item"), name));
}

static void shapes_are_those_of_exec_json(void **state)
{
    int fds[2];
    struct events *events = open_events(fds, 0);
    events_thread_started(events, "task-abc123");
    json_decref(read_event(fds));
    assert_string_equal(line, "{\"type\":\"thread.started\",\"thread_id\":\"task-abc123\"}\n");

    events_turn_completed(events, &(struct token_usage){1, 2, 3, 4});
    json_decref(read_event(fds));
    assert_string_equal(line, "{\"type\":\"turn.completed\",\"usage\":{\"input_tokens\":1,"
                              "\"cached_input_tokens\":2,\"output_tokens\":3,"
                              "\"reasoning_output_tokens\":4}}\n");

    char id[EVENTS_ID_SIZE];
    events_item_id(events, id);
    events_command(events, EVENT_COMPLETED, id,
                   &(struct event_command){.command = "ls \"x\"",
                                           .output = "a\n",
                                           .output_len = 2,
                                           .ended = true,
                                           .status = "completed"});
    json_decref(read_event(fds));
    assert_string_equal(line, "{\"type\":\"item.completed\",\"item\":{\"id\":\"item_0\","
                              "\"type\":\"command_execution\",\"command\":\"ls \\\"x\\\"\","
                              "\"aggregated_output\":\"a\\n\",\"exit_code\":0,"
                              "\"status\":\"completed\"}}\n");
    events_free(events);
    close(fds[0]), close(fds[1]);
}

static void hostile_output_is_one_valid_line(void **state)
{
    int fds[2];
    struct events *events = open_events(fds, 2);
    char output[1000];
    for (size_t i = 0; i < sizeof output; i++)
        output[i] = (char)i;
    char id[EVENTS_ID_SIZE];
    events_item_id(events, id);
    assert_string_equal(id, "item_2_0");
    events_command(events, EVENT_UPDATED, id,
                   &(struct event_command){.command = "\xff\n",
                                           .output = output,
                                           .output_len = sizeof output,
                                           .status = "in_progress"});
    json_t *event = read_event(fds);
    assert_string_equal(item_string(event, "command"), "\xef\xbf\xbd\n");
    json_decref(event);
    events_free(events);
    close(fds[0]), close(fds[1]);
}

static void a_long_text_keeps_head_and_tail(void **state)
{
    int fds[2];
    struct events *events = open_events(fds, 0);
    size_t len = 300000;
    AUTO_FREE char *text = calloc(1, len + 1);
    memset(text, 'm', len);
    text[0] = 'h', text[len - 1] = 't';
    events_agent_message(events, EVENT_COMPLETED, "item_0", text);
    json_t *event = read_event(fds);
    const char *got = item_string(event, "text");
    assert_true(strlen(got) < EVENTS_TEXT_MAX + 64);
    assert_int_equal(got[0], 'h');
    assert_int_equal(got[strlen(got) - 1], 't');
    assert_non_null(strstr(got, "…234464 bytes left out…"));
    json_decref(event);
    events_free(events);
    close(fds[0]), close(fds[1]);
}

static void a_reader_that_is_gone_is_remembered(void **state)
{
    int fds[2];
    struct events *events = open_events(fds, 0);
    close(fds[0]);
    signal(SIGPIPE, SIG_IGN);
    events_turn_started(events);
    assert_int_equal(events_status(events), -EPIPE);
    events_free(events);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_are_those_of_exec_json),
        cmocka_unit_test(hostile_output_is_one_valid_line),
        cmocka_unit_test(a_long_text_keeps_head_and_tail),
        cmocka_unit_test(a_reader_that_is_gone_is_remembered),
    };
    return cmocka_run_group_tests_name("agent_events", tests, NULL, NULL);
}
