/* Running the calls of an answer, with tools that do what the test wants; and noticing circles. */
#include "test.h"

#include <fcntl.h>
#include <unistd.h>

#include "agent/calls.h"
#include "base/cleanup.h"
#include "base/io.h"

/* ---- tools of the test's own: each notes its begin, and ends when the test says so */

enum { HELD_MAX = 32 };

struct fixture {
    char path[64];
    int dir;
    struct loop *loop;
    struct events *events;
    struct conversation *conversation;
    struct tool_group group;
    struct calls *calls;

    struct buf log; /* what was begun: "name:argument " */
    struct tool_call *held[HELD_MAX];
    size_t held_count;

    bool done;
    int status;
    enum repeat_verdict verdict;
    unsigned times;
};

static void hold(void *state, struct tool_call *call)
{
    struct fixture *f = state;
    buf_appendf(&f->log, "%s:%s ", call->name,
                call->input ? call->input
                            : json_string_value(json_object_get(call->arguments, "a")));
    assert_true(f->held_count < HELD_MAX);
    f->held[f->held_count++] = call;
}

static void at_once(void *state, struct tool_call *call)
{
    struct fixture *f = state;
    buf_appendf(&f->log, "%s ", call->name);
    tool_call_finishf(call, true, "%s is done", call->name);
}

static const struct tool tools[] = {
    {.name = "hold", .kind = TOOL_FUNCTION, .schema = "{}", .start = hold},
    {.name = "alone", .kind = TOOL_FUNCTION, .schema = "{}", .exclusive = true, .start = hold},
    {.name = "quick", .kind = TOOL_FUNCTION, .schema = "{}", .start = at_once},
    {.name = "free", .kind = TOOL_CUSTOM, .argument = "input", .start = hold},
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->path, "/tmp/codex-test-calls-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    f->loop = loop_new(NULL);
    f->events = events_new(-1, 0);
    f->conversation = conversation_open(&provider_responses, f->dir, "task-abc123", NULL);
    assert_non_null(f->conversation);
    f->group = (struct tool_group){.tools = tools, .count = 4, .state = f};
    f->calls = calls_new(f->loop, f->events, f->conversation, &f->group, 1);
    buf_init(&f->log, 4096);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    calls_free(f->calls);
    conversation_free(f->conversation);
    events_free(f->events);
    loop_free(f->loop);
    buf_release(&f->log);
    close(f->dir);
    io_remove_tree_at(AT_FDCWD, f->path, NULL);
    free(f);
    return 0;
}

static void on_done(void *arg, int status, const struct err *err, enum repeat_verdict verdict,
                    unsigned times)
{
    struct fixture *f = arg;
    assert_false(f->done);
    f->done = true;
    f->status = status;
    f->verdict = verdict;
    f->times = times;
}

static void answer(struct fixture *f, const char *items)
{
    struct buf stream;
    buf_init(&stream, 1 << 20);
    buf_appendf(&stream,
                "data: {\"type\":\"response.completed\",\"response\":{\"output\":[%s]}}\n\n",
                items);
    struct answer *read = provider_responses.answer_new();
    provider_responses.answer_feed(read, stream.data, stream.len);
    assert_int_equal(read->state, ANSWER_WHOLE);
    assert_int_equal(conversation_add_response(f->conversation, &read->response, NULL), 0);
    provider_responses.answer_free(read);
    buf_release(&stream);
}

static void run(struct fixture *f, const char *items)
{
    answer(f, items);
    f->done = false;
    calls_run(f->calls, on_done, f);
}

static void finish(struct fixture *f, size_t i, const char *text)
{
    tool_call_finish(f->held[i], true, text, strlen(text));
}

static void go_round(struct fixture *f)
{
    for (int i = 0; i < 3; i++)
        loop_run_once(f->loop, 0, NULL);
}

#define CALL(id, name, a)                                                                          \
    "{\"type\":\"function_call\",\"call_id\":\"" id "\",\"name\":\"" name                          \
    "\",\"arguments\":\"{\\\"a\\\":\\\"" a "\\\"}\"}"

static void assert_text_has(const struct fixture *f, const char *part)
{
    struct json_span text = conversation_text(f->conversation);
    if (!memmem(text.at, text.len, part, strlen(part)))
        fail_msg("'%s' is not in %.*s", part, (int)text.len, text.at);
}

/* ---- */

static void calls_run_side_by_side_and_answer_in_order(void **state)
{
    struct fixture *f = *state;
    run(f, CALL("c1", "hold", "1") "," CALL("c2", "hold", "2") "," CALL("c3", "quick", "3"));
    assert_string_equal(f->log.data, "hold:1 hold:2 quick ");
    finish(f, 1, "second");
    go_round(f);
    assert_false(f->done);
    finish(f, 0, "first");
    assert_false(f->done); /* never from within the tool */
    go_round(f);
    assert_true(f->done);
    assert_int_equal(f->status, 0);
    assert_text_has(f,
                    "\"c1\",\"output\":\"first\"},{\"type\":\"function_call_output\",\"call_id\":"
                    "\"c2\",\"output\":\"second\"},{\"type\":\"function_call_output\",\"call_id\":"
                    "\"c3\",\"output\":\"quick is done\"}");
}

static void an_exclusive_call_runs_alone_in_its_place(void **state)
{
    struct fixture *f = *state;
    run(f, CALL("c1", "hold", "1") "," CALL("c2", "alone", "2") "," CALL(
               "c3", "hold", "3") "," CALL("c4", "hold", "4"));
    assert_string_equal(f->log.data, "hold:1 ");
    finish(f, 0, "");
    assert_string_equal(f->log.data, "hold:1 alone:2 ");
    finish(f, 1, "");
    assert_string_equal(f->log.data, "hold:1 alone:2 hold:3 hold:4 ");
    finish(f, 3, "");
    finish(f, 2, "");
    go_round(f);
    assert_true(f->done);
}

static void no_more_than_sixteen_run_at_a_time(void **state)
{
    struct fixture *f = *state;
    AUTO_BUF struct buf items;
    buf_init(&items, 1 << 20);
    for (int i = 0; i < 20; i++)
        buf_appendf(
            &items,
            "%s{\"type\":\"function_call\",\"call_id\":\"c%d\",\"name\":\"hold\",\"arguments\":"
            "\"{\\\"a\\\":\\\"x\\\"}\"}",
            i ? "," : "", i);
    run(f, items.data);
    assert_int_equal(f->held_count, 16);
    for (size_t i = 0; i < 20; i++)
        finish(f, i, "");
    assert_int_equal(f->held_count, 20);
    go_round(f);
    assert_true(f->done);
}

/* Nothing of these is run; each is answered so that the model can do better. */
static void what_cannot_be_run_is_answered(void **state)
{
    static const struct {
        const char *item, *answer;
    } cases[] = {
        {"{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"rm\",\"arguments\":\"{}\"}",
         "rm: there is no tool 'rm'; the tools are: hold, alone, quick, free"},
        {"{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"hold\",\"arguments\":\"{"
         "\\\"a\\\":\"}",
         "hold: the arguments are not valid JSON (line 1, column 5:"},
        {"{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"hold\",\"arguments\":\"\"}",
         "hold: the arguments are not valid JSON"},
        {"{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"hold\",\"arguments\":\"{} {}\"}",
         "hold: the arguments are not valid JSON"},
        {"{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"hold\",\"arguments\":\"{"
         "\\\"a\\\":1,\\\"a\\\":2}\"}",
         "hold: the arguments are not valid JSON"},
        {"{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"hold\",\"arguments\":\"[]\"}",
         "hold: the arguments must be a JSON object"},
        {"{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"hold\",\"arguments\":\"{}\","
         "\"status\":\"incomplete\"}",
         "hold: the call is not whole"},
        {"{\"type\":\"custom_tool_call\",\"call_id\":\"c\",\"name\":\"hold\",\"input\":\"ls\"}",
         "hold: 'hold' is a function"},
        {"{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"free\",\"arguments\":\"{"
         "\\\"patch\\\":\\\"x\\\"}\"}",
         "free: 'input' must be a string"},
        {"{\"type\":\"custom_tool_call\",\"call_id\":\"c\",\"name\":\"free\",\"input\":"
         "\"a\\u0000b\"}",
         "free: the input holds a NUL byte"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        run(f, cases[i].item);
        go_round(f);
        assert_true(f->done);
        assert_text_has(f, cases[i].answer);
    }
    assert_string_equal(f->log.data, "");
    assert_false(calls_any_succeeded(f->calls));
}

static void freeform_input_comes_in_either_form(void **state)
{
    struct fixture *f = *state;
    run(f, "{\"type\":\"custom_tool_call\",\"call_id\":\"c1\",\"name\":\"free\",\"input\":\"x y\"},"
           "{\"type\":\"function_call\",\"call_id\":\"c2\",\"name\":\"free\",\"arguments\":"
           "\"{\\\"input\\\":\\\"z\\\"}\"}");
    assert_string_equal(f->log.data, "free:x y free:z ");
    assert_int_equal(f->held[0]->input_len, 3);
    finish(f, 0, "A");
    finish(f, 1, "B");
    go_round(f);
    assert_text_has(f,
                    "{\"type\":\"custom_tool_call_output\",\"call_id\":\"c1\",\"output\":\"A\"}");
    assert_text_has(f, "{\"type\":\"function_call_output\",\"call_id\":\"c2\",\"output\":\"B\"}");
    assert_true(calls_any_succeeded(f->calls));
}

static void stopping_begins_nothing_more(void **state)
{
    struct fixture *f = *state;
    run(f, CALL("c1", "alone", "1") "," CALL("c2", "hold", "2"));
    calls_stop(f->calls);
    finish(f, 0, "ended"); /* by its group's stop */
    go_round(f);
    assert_false(f->done);
    assert_string_equal(f->log.data, "alone:1 ");
    assert_int_equal(conversation_interrupt_calls(f->conversation, NULL), 0);
    assert_text_has(f, "\"output\":\"ended\"");
    assert_text_has(f, "\"call_id\":\"c2\",\"output\":\"Not run");
}

static void begins_and_ends_are_in_the_journal_at_once(void **state)
{
    struct fixture *f = *state;
    run(f, CALL("c1", "hold", "1") "," CALL("c2", "hold", "2"));
    finish(f, 1, "two");
    AUTO_BUF struct buf journal;
    buf_init(&journal, 1 << 20);
    assert_int_equal(io_read_file_at(f->dir, "journal.jsonl", &journal, NULL), 0);
    assert_non_null(strstr(journal.data, "{\"started\":\"c1\"}\n{\"started\":\"c2\"}\n{\"output\":"
                                         "{\"type\":\"function_call_output\",\"call_id\":\"c2\","
                                         "\"output\":\"two\"}}\n"));
    finish(f, 0, "one");
    go_round(f);
}

static void repeating_itself_is_noticed(void **state)
{
    struct fixture *f = *state;
    for (unsigned n = 1; n <= 10; n++) {
        f->held_count = 0;
        run(f, CALL("c", "hold", "same"));
        char text[64];
        snprintf(text, sizeof text, "Wall time: 0.%u seconds\npid %u", n, n * 7919);
        finish(f, 0, text);
        go_round(f);
        assert_int_equal(f->verdict, n == 10 ? REPEAT_STOP : n == 5 ? REPEAT_TELL : REPEAT_NONE);
        assert_int_equal(f->times, n == 1 ? 0 : n);
    }
}

static void nobody_is_stopped_before_being_told(void **state)
{
    struct fixture *f = *state;
    AUTO_BUF struct buf items;
    buf_init(&items, 1 << 20);
    for (int i = 0; i < 12; i++)
        buf_appendf(&items,
                    "%s{\"type\":\"function_call\",\"call_id\":\"c%d\",\"name\":\"quick\","
                    "\"arguments\":\"{}\"}",
                    i ? "," : "", i);
    run(f, items.data);
    go_round(f);
    assert_int_equal(f->verdict, REPEAT_TELL);
    assert_int_equal(f->times, 12);
    run(f,
        "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"quick\",\"arguments\":\"{}\"}");
    go_round(f);
    assert_int_equal(f->verdict, REPEAT_STOP);
}

/* ---- repeat.h alone */

static enum repeat_verdict note(struct repeat *repeat, const char *arguments, const char *output,
                                int64_t ms)
{
    return repeat_note(repeat, "f", (struct json_span){arguments, strlen(arguments)},
                       (struct json_span){output, strlen(output)}, ms);
}

static void cycles_are_noticed_too(void **state)
{
    for (unsigned cycle = 2; cycle <= REPEAT_CYCLE_MAX; cycle++) {
        struct repeat repeat = {0};
        unsigned told_at = 0, stopped_at = 0;
        for (unsigned n = 0; n < 100 && !stopped_at; n++) {
            char arguments[2] = {(char)('a' + n % cycle)};
            enum repeat_verdict verdict = note(&repeat, arguments, "x", 0);
            if (verdict == REPEAT_TELL) {
                assert_int_equal(told_at, 0);
                told_at = n + 1;
            }
            if (verdict == REPEAT_STOP)
                stopped_at = n + 1;
        }
        assert_int_equal(told_at, 5 * cycle);
        assert_int_equal(stopped_at, 10 * cycle);
    }
}

static void work_that_differs_is_no_circle(void **state)
{
    struct repeat repeat = {0};
    for (unsigned n = 0; n < 1000; n++) {
        char arguments[16], output[3] = {(char)('a' + n % 26), (char)('a' + n / 26 % 26)};
        snprintf(arguments, sizeof arguments, "%u", n);
        assert_int_equal(note(&repeat, arguments, "the same", 0), REPEAT_NONE);
        assert_int_equal(note(&repeat, "the same", output, 0), REPEAT_NONE);
    }
}

static void waiting_may_take_longer(void **state)
{
    struct repeat repeat = {0};
    for (unsigned n = 1; n <= 200; n++)
        assert_int_equal(note(&repeat, "wait", "still running", 10000), n == 200  ? REPEAT_STOP
                                                                        : n == 30 ? REPEAT_TELL
                                                                                  : REPEAT_NONE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(calls_run_side_by_side_and_answer_in_order),
        TEST(an_exclusive_call_runs_alone_in_its_place),
        TEST(no_more_than_sixteen_run_at_a_time),
        TEST(what_cannot_be_run_is_answered),
        TEST(freeform_input_comes_in_either_form),
        TEST(stopping_begins_nothing_more),
        TEST(begins_and_ends_are_in_the_journal_at_once),
        TEST(repeating_itself_is_noticed),
        TEST(nobody_is_stopped_before_being_told),
        cmocka_unit_test(cycles_are_noticed_too),
        cmocka_unit_test(work_that_differs_is_no_circle),
        cmocka_unit_test(waiting_may_take_longer),
    };
    return cmocka_run_group_tests_name("agent_calls", tests, NULL, NULL);
}
