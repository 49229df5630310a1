/* The conversation and its journal: restored byte for byte, after a crash at any byte. */
#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/conversation.h"
#include "base/cleanup.h"
#include "base/io.h"

struct place {
    char path[64];
    int fd;
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    strcpy(place->path, "/tmp/codex-test-journal-XXXXXX");
    assert_non_null(mkdtemp(place->path));
    place->fd = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(place->fd >= 0);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    close(place->fd);
    io_remove_tree_at(AT_FDCWD, place->path, NULL);
    free(place);
    return 0;
}

static struct conversation *open_on(const struct place *place, const struct provider *wire)
{
    struct err err = {0};
    struct conversation *c = conversation_open(wire, place->fd, "task-abc123", &err);
    if (!c)
        fail_msg("%s", err.message);
    return c;
}

static struct conversation *reopen(const struct place *place)
{
    return open_on(place, &provider_responses);
}

static int reopen_fails(const struct place *place, const char *task, struct err *err)
{
    struct conversation *c = conversation_open(&provider_responses, place->fd, task, err);
    assert_null(c);
    return err->code;
}

static char *text_of(const struct conversation *c)
{
    struct json_span text = conversation_text(c);
    char *copy = calloc(1, text.len + 1);
    memcpy(copy, text.at, text.len);
    return copy;
}

static void say(struct conversation *c, const char *text)
{
    struct message message = {text, strlen(text)};
    assert_int_equal(conversation_add_user(c, &message, 1, NULL), 0);
}

/* An answer of these items, read as if it had come from a server. */
static void answer(struct conversation *c, const char *items)
{
    struct buf stream;
    buf_init(&stream, 1 << 20);
    buf_appendf(&stream,
                "data: {\"type\":\"response.completed\",\"response\":{\"output\":[%s],"
                "\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n",
                items);
    struct answer *read = provider_responses.answer_new();
    provider_responses.answer_feed(read, stream.data, stream.len);
    assert_int_equal(read->state, ANSWER_WHOLE);
    assert_int_equal(conversation_add_response(c, &read->response, NULL), 0);
    assert_int_equal(read->response.count, 0);
    provider_responses.answer_free(read);
    buf_release(&stream);
}

#define REASONING                                                                                  \
    "{\"type\":\"reasoning\",\"id\":\"rs\",\"summary\":[],\"encrypted_content\":\"\\u00e9=\"}"
#define CALL(id)                                                                                   \
    "{\"type\":\"function_call\",\"call_id\":\"" id "\",\"name\":\"f\",\"arguments\":\"{}\"}"
#define ANSWER                                                                                     \
    "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\","         \
    "\"text\":\"ok\"}]}"

static void put_output(struct conversation *c, size_t i, const char *text)
{
    assert_int_equal(conversation_call_output(c, i, text, strlen(text), NULL, NULL), 0);
}

/* A prompt, two calls whose outputs come in the other order, and an answer. */
static void usual_turn(struct conversation *c)
{
    say(c, "do \"it\"\n");
    answer(c, REASONING "," CALL("c1") "," CALL("c2"));
    assert_int_equal(conversation_calls(c), 2);
    assert_int_equal(conversation_call_started(c, 0, NULL), 0);
    assert_int_equal(conversation_call_started(c, 1, NULL), 0);
    put_output(c, 1, "two");
    assert_int_equal(conversation_calls(c), 2);
    put_output(c, 0, "one");
    assert_int_equal(conversation_calls(c), 0);
    answer(c, ANSWER);
}

static const char usual_text[] =
    "{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"do "
    "\\\"it\\\"\\n\"}]}," REASONING "," CALL("c1") "," CALL(
        "c2") ","
              "{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":\"one\"},"
              "{\"type\":\"function_call_output\",\"call_id\":\"c2\",\"output\":\"two\"}," ANSWER;

static void a_turn_is_restored_byte_for_byte(void **state)
{
    struct conversation *c = reopen(*state);
    assert_true(conversation_is_empty(c));
    assert_int_equal(conversation_session(c), 0);
    assert_false(conversation_has_ended(c));
    usual_turn(c);
    assert_true(conversation_has_ended(c));
    AUTO_FREE char *before = text_of(c);
    assert_string_equal(before, usual_text);
    assert_int_equal(conversation_usage(c)->input_tokens, 20);
    conversation_free(c);

    c = reopen(*state);
    AUTO_FREE char *after = text_of(c);
    assert_string_equal(after, usual_text);
    assert_true(conversation_has_ended(c));
    assert_int_equal(conversation_session(c), 1);
    assert_int_equal(conversation_usage(c)->input_tokens, 20);
    assert_int_equal(conversation_usage(c)->output_tokens, 2);
    conversation_free(c);
}

static void write_journal(const struct place *place, const char *bytes, size_t len)
{
    AUTO_FD int fd =
        openat(place->fd, "journal.jsonl", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
}

static void read_journal(const struct place *place, struct buf *out)
{
    assert_int_equal(io_read_file_at(place->fd, "journal.jsonl", out, NULL), 0);
}

/* After a crash at every byte the journal opens, the text is a part of the whole turn's, and the
 * calls that have no output are answered, once, without being run again. */
static void a_journal_torn_at_any_byte_goes_on(void **state)
{
    const struct place *place = *state;
    struct conversation *c = reopen(place);
    usual_turn(c);
    conversation_free(c);
    AUTO_BUF struct buf whole;
    buf_init(&whole, 1 << 20);
    read_journal(place, &whole);
    for (size_t len = 0; len <= whole.len; len++) {
        write_journal(place, whole.data, len);
        c = reopen(place);
        AUTO_FREE char *text = text_of(c);
        assert_memory_equal(text, usual_text, strlen(text));
        size_t open_calls = conversation_calls(c);
        assert_int_equal(conversation_interrupt_calls(c, NULL), 0);
        assert_int_equal(conversation_calls(c), 0);
        AUTO_FREE char *answered = text_of(c);
        assert_memory_equal(answered, text, strlen(text));
        assert_int_equal(strlen(answered) > strlen(text), open_calls > 0);
        say(c, "go on");
        AUTO_FREE char *end = text_of(c);
        conversation_free(c);

        c = reopen(place);
        AUTO_FREE char *again = text_of(c);
        assert_string_equal(again, end);
        conversation_free(c);
    }
}

static void calls_are_told_apart_by_whether_they_had_begun(void **state)
{
    struct conversation *c = reopen(*state);
    say(c, "go");
    answer(c, CALL("c1") "," CALL("c2") "," CALL("c3"));
    assert_int_equal(conversation_call_started(c, 0, NULL), 0);
    assert_int_equal(conversation_call_started(c, 1, NULL), 0);
    put_output(c, 1, "done");
    conversation_free(c);

    c = reopen(*state);
    assert_int_equal(conversation_calls(c), 3);
    assert_int_equal(conversation_interrupt_calls(c, NULL), 0);
    AUTO_FREE char *text = text_of(c);
    const char *first = strstr(text, "\"call_id\":\"c1\",\"output\":\"Interrupted");
    const char *second = strstr(text, "\"call_id\":\"c2\",\"output\":\"done");
    const char *third = strstr(text, "\"call_id\":\"c3\",\"output\":\"Not run");
    assert_true(first && second && third && first < second && second < third);
    conversation_free(c);
}

static int begin_round(struct conversation *c, const char *text)
{
    return conversation_begin_round(c, (struct message){text, strlen(text)}, NULL);
}

static void a_round_begins_once(void **state)
{
    struct conversation *c = reopen(*state);
    usual_turn(c);
    assert_int_equal(begin_round(c, "tests fail"), 0);
    assert_false(conversation_has_ended(c));
    assert_int_equal(conversation_usage(c)->input_tokens, 0);
    size_t len = conversation_text(c).len;
    conversation_free(c);

    /* Started again for the same round: nothing new. */
    c = reopen(*state);
    assert_int_equal(begin_round(c, "tests fail"), 0);
    assert_int_equal(conversation_text(c).len, len);
    answer(c, ANSWER);
    assert_true(conversation_has_ended(c));
    /* The round has ended, and the same failure comes again: that is the next. */
    assert_int_equal(begin_round(c, "tests fail"), 0);
    assert_false(conversation_has_ended(c));
    assert_true(conversation_text(c).len > len);
    conversation_free(c);
}

static void an_answer_without_items_does_not_end_the_turn(void **state)
{
    struct conversation *c = reopen(*state);
    say(c, "go");
    struct response empty = {.usage = {.input_tokens = 5}};
    assert_int_equal(conversation_add_response(c, &empty, NULL), 0);
    assert_false(conversation_has_ended(c));
    assert_int_equal(conversation_usage(c)->input_tokens, 5);
    assert_int_equal(conversation_end(c, NULL), 0);
    conversation_free(c);
    c = reopen(*state);
    assert_true(conversation_has_ended(c));
    conversation_free(c);
}

static void several_messages_enter_together(void **state)
{
    struct conversation *c = reopen(*state);
    struct message messages[] = {{"a", 1}, {"b", 1}, {"c", 1}};
    assert_int_equal(conversation_add_user(c, messages, 3, NULL), 0);
    AUTO_FREE char *text = text_of(c);
    conversation_free(c);
    AUTO_BUF struct buf journal;
    buf_init(&journal, 1 << 20);
    read_journal(*state, &journal);
    size_t lines = 0;
    for (size_t i = 0; i < journal.len; i++)
        lines += journal.data[i] == '\n';
    assert_int_equal(lines, 3); /* journal, session, user */
    c = reopen(*state);
    AUTO_FREE char *again = text_of(c);
    assert_string_equal(again, text);
    conversation_free(c);
}

static void what_is_no_journal_of_this_task_is_refused(void **state)
{
    static const struct {
        const char *bytes, *why;
    } cases[] = {
        {"{}\n", "journal.jsonl line 1: not the journal of an agent"},
        {"{\"journal\":2,\"task\":\"task-abc123\"}\n",
         "journal.jsonl line 1: not the journal of an agent"},
        {"{\"journal\":1,\"task\":\"task-other1\"}\n",
         "journal.jsonl line 1: the journal is that of task-other1"},
        {"{\"journal\":1,\"task\":\"task-abc123\"}\nx\n{}\n",
         "journal.jsonl line 2: not a JSON object"},
        {"{\"journal\":1,\"task\":\"task-abc123\"}\n{\"what\":1}\n",
         "journal.jsonl line 2: an unknown record"},
        {"{\"journal\":1,\"task\":\"task-abc123\"}\n{\"output\":{\"call_id\":\"c\"}}\n",
         "journal.jsonl line 2: an output without its call"},
        {"{\"journal\":1,\"task\":\"task-abc123\"}\n{\"user\":{}}\n",
         "journal.jsonl line 2: a message without an item"},
        {"{\"journal\":1,\"task\":\"task-abc123\"}\n{\"response\":{\"items\":[{\"type\":\"function_"
         "call\"}]}}\n",
         "journal.jsonl line 2: a call without call_id, name or arguments"},
        {"{\"journal\":1,\"task\":\"task-abc123\"}\n{\"response\":{\"items\":[" CALL("c") "," CALL(
             "c") "]}}\n",
         "journal.jsonl line 2: two calls with one id"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = {0};
        write_journal(*state, cases[i].bytes, strlen(cases[i].bytes));
        assert_int_equal(reopen_fails(*state, "task-abc123", &err), ERR_PROTOCOL);
        assert_string_equal(err.message, cases[i].why);
    }
}

static void a_journal_is_one_agents_at_a_time(void **state)
{
    struct conversation *c = reopen(*state);
    pid_t pid = fork();
    if (pid == 0) {
        struct err err = {0};
        struct conversation *other = conversation_open(
            &provider_responses, ((struct place *)*state)->fd, "task-abc123", &err);
        _exit(!other && err.code == ERR_CONFLICT ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    conversation_free(c);
}

static void a_link_in_the_journals_place_is_not_followed(void **state)
{
    const struct place *place = *state;
    struct err err = {0};
    assert_int_equal(symlinkat("elsewhere", place->fd, "journal.jsonl"), 0);
    assert_true(reopen_fails(place, "task-abc123", &err) < 0);
    assert_int_equal(faccessat(place->fd, "elsewhere", F_OK, 0), -1);
}

static void a_conversation_has_a_largest_size(void **state)
{
    struct conversation *c = reopen(*state);
    size_t len = 20 << 20;
    AUTO_FREE char *text = calloc(1, len + 1);
    memset(text, 'x', len);
    struct message message = {text, len};
    struct err err = {0};
    assert_int_equal(conversation_add_user(c, &message, 1, &err), 0);
    assert_int_equal(conversation_add_user(c, &message, 1, &err), 0);
    size_t before = conversation_text(c).len;
    assert_int_equal(conversation_add_user(c, &message, 1, &err), ERR_LIMIT);
    assert_string_equal(err.message, "the conversation would be larger than 60 MiB");
    assert_int_equal(conversation_text(c).len, before);
    conversation_free(c);
    c = reopen(*state);
    assert_int_equal(conversation_text(c).len, before);
    conversation_free(c);
}

/* ---- the other wires: an answer, or the outputs of its calls, may be one element together */

static const struct {
    const struct provider *wire;
    const char *answer, *end; /* bodies in one piece */
    const char *text;
} other_wires[] = {
    {&provider_chat,
     "{\"choices\":[{\"index\":0,\"finish_reason\":\"tool_calls\",\"message\":{\"content\":\"a\","
     "\"reasoning\":\"r\",\"tool_calls\":[{\"id\":\"c1\",\"function\":{\"name\":\"f\","
     "\"arguments\":\"{}\"}},{\"id\":\"c2\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}"
     "}]}",
     "{\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"message\":{\"content\":\"ok\"}}]}",
     "{\"role\":\"user\",\"content\":\"do it\\n\\nnow\"},"
     "{\"role\":\"assistant\",\"content\":\"a\",\"reasoning\":\"r\",\"tool_calls\":[{\"id\":\"c1\","
     "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"id\":\"c2\","
     "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
     "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"one\"},"
     "{\"role\":\"tool\",\"tool_call_id\":\"c2\",\"content\":\"two\"},"
     "{\"role\":\"assistant\",\"content\":\"ok\"}"},
    {&provider_messages,
     "{\"stop_reason\":\"tool_use\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"r\","
     "\"signature\":\"s\"},{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"f\",\"input\":{}},"
     "{\"type\":\"tool_use\",\"id\":\"c2\",\"name\":\"f\",\"input\":{}}]}",
     "{\"stop_reason\":\"end_turn\",\"content\":[{\"type\":\"text\",\"text\":\"ok\"}]}",
     "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"do it\"},{\"type\":\"text\","
     "\"text\":\"now\"}]},"
     "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"r\",\"signature\":"
     "\"s\"},{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":\"f\",\"input\":{}},{\"type\":"
     "\"tool_use\",\"id\":\"c2\",\"name\":\"f\",\"input\":{}}]},"
     "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c1\",\"content\":"
     "\"one\"},{\"type\":\"tool_result\",\"tool_use_id\":\"c2\",\"content\":\"two\"}]},"
     "{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"ok\"}]}"},
};

static void answer_on(struct conversation *c, const struct provider *wire, const char *body)
{
    struct answer *read = wire->answer_new();
    wire->answer_feed(read, body, strlen(body));
    wire->answer_end(read);
    assert_int_equal(read->state, ANSWER_WHOLE);
    assert_int_equal(conversation_add_response(c, &read->response, NULL), 0);
    wire->answer_free(read);
}

static void assert_text(const struct conversation *c, const char *wanted)
{
    AUTO_FREE char *text = text_of(c);
    assert_string_equal(text, wanted);
}

static void turns_on_other_wires_are_restored_too(void **state)
{
    const struct place *place = *state;
    const struct message prompt[] = {{"do it", 5}, {"now", 3}};
    for (size_t i = 0; i < sizeof other_wires / sizeof other_wires[0]; i++) {
        const struct provider *wire = other_wires[i].wire;
        unlinkat(place->fd, "journal.jsonl", 0);
        struct conversation *c = open_on(place, wire);
        assert_int_equal(conversation_add_user(c, prompt, 2, NULL), 0);
        answer_on(c, wire, other_wires[i].answer);
        assert_int_equal(conversation_calls(c), 2);
        put_output(c, 1, "two");
        conversation_free(c);
        c = open_on(place, wire); /* in between: one output is there, one is not */
        assert_int_equal(conversation_calls(c), 2);
        assert_string_equal(conversation_call(c, 0)->call_id, "c1");
        put_output(c, 0, "one");
        answer_on(c, wire, other_wires[i].end);
        assert_true(conversation_has_ended(c));
        assert_text(c, other_wires[i].text);
        conversation_free(c);
        c = open_on(place, wire);
        assert_text(c, other_wires[i].text);
        assert_true(conversation_has_ended(c));
        conversation_free(c);
    }
}

static void a_paused_answer_ends_nothing(void **state)
{
    struct conversation *c = open_on(*state, &provider_messages);
    say(c, "x");
    answer_on(c, &provider_messages,
              "{\"stop_reason\":\"pause_turn\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}");
    assert_false(conversation_has_ended(c));
    conversation_free(c);
    c = open_on(*state, &provider_messages);
    assert_false(conversation_has_ended(c));
    conversation_free(c);
}

static void a_journal_is_that_of_one_wire(void **state)
{
    const struct place *place = *state;
    struct err err = {0};
    conversation_free(open_on(place, &provider_chat));
    assert_null(conversation_open(&provider_messages, place->fd, "task-abc123", &err));
    assert_int_equal(err.code, ERR_PROTOCOL);
    assert_non_null(strstr(err.message, "begun with wire_api 'chat' and cannot go on with 'mess"));
    /* One from before there were others. */
    int fd = openat(place->fd, "journal.jsonl", O_WRONLY | O_TRUNC | O_CLOEXEC);
    static const char old[] = "{\"journal\":1,\"task\":\"task-abc123\"}\n";
    assert_int_equal(write(fd, old, sizeof old - 1), sizeof old - 1);
    close(fd);
    conversation_free(reopen(place));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_turn_is_restored_byte_for_byte),
        TEST(a_journal_torn_at_any_byte_goes_on),
        TEST(calls_are_told_apart_by_whether_they_had_begun),
        TEST(a_round_begins_once),
        TEST(an_answer_without_items_does_not_end_the_turn),
        TEST(several_messages_enter_together),
        TEST(what_is_no_journal_of_this_task_is_refused),
        TEST(a_journal_is_one_agents_at_a_time),
        TEST(a_link_in_the_journals_place_is_not_followed),
        TEST(a_conversation_has_a_largest_size),
        TEST(turns_on_other_wires_are_restored_too),
        TEST(a_paused_answer_ends_nothing),
        TEST(a_journal_is_that_of_one_wire),
    };
    return cmocka_run_group_tests_name("agent_conversation", tests, NULL, NULL);
}
