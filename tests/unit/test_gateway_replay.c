#include "test.h"

#include <jansson.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "gateway/meter.h"
#include "gateway/replay_answer.h"
#include "gateway/replay_file.h"
#include "http/sse.h"

static const char first[] =
    "{\"replay\":1,\"recorded\":\"2026-11-20\",\"model\":\"o3\",\"note\":\"n\"}\n";
static const char turn[] =
    "{\"output\":["
    "{\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"one\"},"
    "{\"type\":\"summary_text\",\"text\":\"two\"}],\"encrypted_content\":\"secret\"},"
    "{\"type\":\"reasoning\",\"summary\":[]},"
    "{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"caf\xc3\xa9 "
    "caf\xc3\xa9 caf\xc3\xa9 "
    "caf\xc3\xa9 caf\xc3\xa9 caf\xc3\xa9 caf\xc3\xa9 caf\xc3\xa9 caf\xc3\xa9 caf\xc3\xa9 "
    "caf\xc3\xa9\"}]},"
    "{\"type\":\"function_call\",\"name\":\"exec_command\",\"arguments\":\"{\\\"cmd\\\":\\\"ls\\\"}"
    "\"},"
    "{\"type\":\"custom_tool_call\",\"name\":\"apply_patch\",\"input\":\"*** Begin Patch\\n\"}],"
    "\"usage\":{\"input_tokens\":10,\"input_tokens_details\":{\"cached_tokens\":4},\"output_"
    "tokens\":3,"
    "\"output_tokens_details\":{\"reasoning_tokens\":1}}}";

static int load(struct replay_file *file, const char *text, struct err *err)
{
    int fd = io_memfd("replay", text, strlen(text), NULL);
    int status = replay_file_load(file, fd, err);
    if (status < 0)
        close(fd);
    return status;
}

static void a_recording_is_indexed(void **state)
{
    struct replay_file file;
    AUTO_BUF struct buf text;
    buf_init(&text, 1 << 20);
    buf_append_str(&text, first);
    for (int i = 0; i < 100; i++) {
        buf_append_str(&text, turn);
        if (i < 99) /* the last line may lack its end */
            buf_append_char(&text, '\n');
    }
    assert_int_equal(load(&file, text.data, NULL), 0);
    assert_int_equal(file.turns_count, 100);
    json_t *line = replay_file_turn(&file, 100, NULL);
    json_t *output = json_object_get(line, "output");
    static const char *const ids[] = {"rs_r100_1", "rs_r100_2", "msg_r100_3", "fc_r100_4",
                                      "ctc_r100_5"};
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(json_string_value(json_object_get(json_array_get(output, i), "id")),
                            ids[i]);
    assert_string_equal(json_string_value(json_object_get(json_array_get(output, 3), "call_id")),
                        "call_r100_4");
    assert_null(json_object_get(json_array_get(output, 2), "call_id"));
    json_decref(line);
    close(file.fd);
    replay_file_release(&file);
}

static void bad_recordings_are_told_with_their_line(void **state)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "replay file: it is empty"},
        {"\n", "replay file: line 1: "},
        {"{\"replay\":2}\n", "replay file: line 1: the first line must be {\"replay\":1, …}"},
        {"{\"output\":[]}\n", "replay file: line 1: the first line"},
        {"{\"replay\":1}\n{\n", "replay file: line 2: "},
        {"{\"replay\":1}\n\n", "replay file: line 2: "},
        {"{\"replay\":1}\n{\"output\":[],\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}",
         "replay file: line 2: 'output' must be an array of items"},
        {"{\"replay\":1}\n{\"output\":[{\"type\":\"reasoning\",\"summary\":[]}]}",
         "line 2: 'usage' must have"},
        {"{\"replay\":1}\n{\"output\":[1],\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}",
         "line 2: an item of 'output' must have the type"},
        {"{\"replay\":1}\n{\"output\":[{\"type\":\"function_call\",\"arguments\":\"{}\"}],"
         "\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}",
         "line 2: a function_call without a 'name'"},
        {"{\"replay\":1}\n{\"output\":[{\"type\":\"custom_tool_call\",\"name\":\"x\"}],"
         "\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}",
         "line 2: a custom_tool_call without 'input'"},
        {"{\"replay\":1}\n{\"output\":[{\"type\":\"message\",\"content\":[{}]}],"
         "\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}",
         "line 2: a part of 'content' without 'text'"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct replay_file file;
        struct err err;
        assert_int_equal(load(&file, bad[i].text, &err), ERR_USAGE);
        if (!strstr(err.message, bad[i].message))
            fail_msg("'%s' instead of '%s'", err.message, bad[i].message);
    }
}

/* ---- the events */

struct told {
    struct buf types;
    struct buf text; /* all deltas, with | behind each text */
    json_t *last;
    json_int_t sequence;
    json_t *items; /* from output_item.done */
};

static int note_event(void *arg, const struct sse_event *event)
{
    struct told *told = arg;
    json_t *data = json_loadb(event->data, event->data_len, JSON_REJECT_DUPLICATES, NULL);
    assert_string_equal(json_string_value(json_object_get(data, "type")), event->type);
    assert_int_equal(json_integer_value(json_object_get(data, "sequence_number")),
                     told->sequence++);
    const char *delta = json_string_value(json_object_get(data, "delta"));
    if (delta) {
        assert_true(strlen(delta) <= REPLAY_DELTA_BYTES);
        buf_append_str(&told->text, delta);
    } else {
        buf_appendf(&told->types, "%s ", event->type + strlen("response."));
        if (strstr(event->type, "text.done") || strstr(event->type, "arguments.done") ||
            strstr(event->type, "input.done"))
            buf_append_char(&told->text, '|');
    }
    if (strstr(event->type, "output_item.done"))
        json_array_append(told->items, json_object_get(data, "item"));
    json_decref(told->last);
    told->last = data;
    return 0;
}

static void a_turn_is_told_as_the_api_tells_it(void **state)
{
    struct told told = {.items = json_array()};
    buf_init(&told.types, 10000);
    buf_init(&told.text, 10000);
    AUTO_BUF struct buf stream;
    buf_init(&stream, 1 << 20);
    struct replay_file file;
    AUTO_BUF struct buf text;
    buf_init(&text, 1 << 20);
    buf_append_str(&text, first);
    buf_append_str(&text, turn);
    assert_int_equal(load(&file, text.data, NULL), 0);
    struct replay_answer answer;
    replay_answer_init(&answer, "o3", 1, replay_file_turn(&file, 1, NULL));
    while (replay_answer_next(&answer, &stream))
        ;
    struct sse sse;
    sse_init(&sse, 100000);
    assert_int_equal(sse_feed(&sse, stream.data, stream.len, note_event, &told, NULL), 0);
    assert_string_equal(
        told.types.data,
        "created in_progress "
        "output_item.added reasoning_summary_part.added reasoning_summary_text.done "
        "reasoning_summary_part.done reasoning_summary_part.added reasoning_summary_text.done "
        "reasoning_summary_part.done output_item.done "
        "output_item.added output_item.done "
        "output_item.added content_part.added output_text.done content_part.done output_item.done "
        "output_item.added function_call_arguments.done output_item.done "
        "output_item.added custom_tool_call_input.done output_item.done completed ");
    assert_string_equal(
        told.text.data,
        "one|two|caf\xc3\xa9 caf\xc3\xa9 caf\xc3\xa9 caf\xc3\xa9 caf\xc3\xa9 caf\xc3\xa9 "
        "caf\xc3\xa9 "
        "caf\xc3\xa9 caf\xc3\xa9 caf\xc3\xa9 caf\xc3\xa9|{\"cmd\":\"ls\"}|*** Begin Patch\n|");
    json_t *response = json_object_get(told.last, "response");
    assert_true(json_equal(json_object_get(response, "output"), told.items));
    assert_string_equal(json_string_value(json_object_get(response, "status")), "completed");

    /* and metered like any other answer */
    struct meter meter;
    meter_init(&meter, WIRE_RESPONSES);
    meter_feed(&meter, stream.data, stream.len);
    assert_true(meter.known);
    assert_int_equal(meter.usage.input_tokens, 10);
    assert_int_equal(meter.usage.cached_input_tokens, 4);
    assert_int_equal(meter.usage.output_tokens, 3);
    assert_int_equal(meter.usage.reasoning_output_tokens, 1);
    meter_release(&meter);

    AUTO_BUF struct buf whole;
    buf_init(&whole, 100000);
    replay_answer_whole(&answer, &whole);
    json_t *object = json_loadb(whole.data, whole.len, 0, NULL);
    assert_true(json_equal(json_object_get(object, "output"), told.items));
    json_decref(object);

    replay_answer_release(&answer);
    sse_release(&sse);
    json_decref(told.last);
    json_decref(told.items);
    buf_release(&told.types);
    buf_release(&told.text);
    close(file.fd);
    replay_file_release(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recording_is_indexed),
        cmocka_unit_test(bad_recordings_are_told_with_their_line),
        cmocka_unit_test(a_turn_is_told_as_the_api_tells_it),
    };
    return cmocka_run_group_tests_name("gateway replay", tests, NULL, NULL);
}
