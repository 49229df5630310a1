/* Chat Completions: what a request says, and what is read from an answer, however it arrives. */
#include "wire.h"

#include "base/cleanup.h"

const struct provider *const wire = &provider_chat;

/* ---- requests */

static void a_request_says_little(void **state)
{
    json_t *json = request("gpt-5", "high", 0);
    assert_string_equal(string_at(json, "model"), "gpt-5");
    assert_string_equal(string_at(json, "reasoning_effort"), "high");
    assert_true(json_is_true(json_object_get(json, "stream")));
    assert_true(
        json_is_true(json_object_get(json_object_get(json, "stream_options"), "include_usage")));
    const json_t *messages = json_object_get(json, "messages");
    assert_int_equal(json_array_size(messages), 2);
    const json_t *system = json_array_get(messages, 0), *user = json_array_get(messages, 1);
    assert_string_equal(string_at(system, "role"), "system");
    assert_string_equal(string_at(system, "content"), "Work.\n");
    assert_string_equal(string_at(user, "role"), "user");
    assert_string_equal(string_at(user, "content"), "hi\xef\xbf\xbd");
    assert_int_equal(json_object_size(json), 6);
    json_decref(json);

    json_t *plain = request("gpt-4.1", NULL, 0);
    assert_null(json_object_get(plain, "reasoning_effort"));
    json_decref(plain);
}

static void every_tool_is_a_function(void **state)
{
    json_t *json = request("gpt-5", "high", 0);
    const json_t *list = json_object_get(json, "tools");
    assert_int_equal(json_array_size(list), 2);
    for (size_t i = 0; i < 2; i++)
        assert_string_equal(string_at(json_array_get(list, i), "type"), "function");
    const json_t *patch = json_object_get(json_array_get(list, 1), "function");
    assert_string_equal(string_at(patch, "name"), "apply_patch");
    assert_non_null(strstr(string_at(patch, "description"), "start: \"x\""));
    const json_t *required = json_object_get(json_object_get(patch, "parameters"), "required");
    assert_string_equal(json_string_value(json_array_get(required, 0)), "input");
    json_decref(json);
}

/* As OpenAI, vLLM, Groq, Ollama, LiteLLM and Azure say it. */
static void what_a_server_refuses_is_left_out(void **state)
{
    static const struct {
        const char *error, *member;
    } cases[] = {
        {"{\"message\":\"Unrecognized request argument supplied: reasoning_effort\"}",
         "reasoning_effort"},
        {"{\"param\":\"reasoning_effort\",\"code\":\"unsupported_parameter\",\"message\":\"x\"}",
         "reasoning_effort"},
        {"{\"message\":\"`reasoning_effort` is not supported with this model\"}",
         "reasoning_effort"},
        {"{\"message\":\"\\\"llama3\\\" does not support thinking\"}", "reasoning_effort"},
        {"{\"message\":\"messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but "
         "found `tool_use`\"}",
         "reasoning_effort"},
        {"{\"message\":\"Unrecognized request argument supplied: stream_options\"}",
         "stream_options"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned bit = refused("m", cases[i].error);
        assert_int_not_equal(bit, 0);
        json_t *json = request("m", "low", bit);
        assert_null(json_object_get(json, cases[i].member));
        json_decref(json);
    }
    assert_int_equal(refused("m", "{\"message\":\"no such model\"}"), 0);
    /* An effort that the model lacks is for the user to change. */
    assert_int_equal(refused("m", "{\"param\":\"reasoning_effort\",\"code\":\"unsupported_value\","
                                  "\"message\":\"x\"}"),
                     0);
    assert_int_equal(refused("m", "{\"message\":\"reasoning_effort: Input should be 'low'\"}"), 0);
}

/* The gateway lets through only what it can count: the usage is then in an answer of one piece. */
static void without_usage_in_a_stream_there_is_no_stream(void **state)
{
    json_t *json =
        request("m", "low", refused("m", "{\"message\":\"unknown field stream_options\"}"));
    assert_true(json_is_false(json_object_get(json, "stream")));
    json_decref(json);
}

static void thoughts_that_are_refused_stay_here(void **state)
{
    static const char conversation[] =
        "{\"role\":\"user\",\"content\":\"reasoning\"},"
        "{\"role\":\"assistant\",\"content\":\"a\",\"reasoning\":\"b\",\"tool_calls\":[]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"\"},"
        "{\"role\":\"assistant\",\"content\":\"d\"}";
    unsigned bit = refused(
        "m", "{\"message\":\"'messages.2' : for 'role:assistant' the following must be satisfied"
             "[('messages.2' : property 'reasoning' is unsupported)]\"}");
    assert_int_not_equal(bit, 0);
    struct json_span span = {conversation, strlen(conversation)};
    struct buf out;
    buf_init(&out, 1 << 20);
    assert_false(wire->adapt(span, 0, &out));
    assert_true(wire->adapt(span, bit, &out));
    assert_string_equal(out.data, "{\"role\":\"user\",\"content\":\"reasoning\"},"
                                  "{\"role\":\"assistant\",\"content\":\"a\",\"tool_calls\":[]},"
                                  "{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"\"},"
                                  "{\"role\":\"assistant\",\"content\":\"d\"}");
    buf_release(&out);
    /* DeepSeek wants them. */
    assert_int_equal(refused("m", "{\"message\":\"Missing `reasoning_content` field in the "
                                  "assistant message: it must be passed back to the API.\"}"),
                     0);
}

static void messages_of_one_moment_are_one(void **state)
{
    const struct message messages[] = {{"a", 1}, {"b\"", 2}};
    struct buf out;
    buf_init(&out, 100);
    assert_int_equal(wire->user_messages(&out, messages, 2), 0);
    assert_string_equal(out.data, "{\"role\":\"user\",\"content\":\"a\\n\\nb\\\"\"}");
    buf_clear(&out);
    const struct item call = {.call_id = (char *)"c\"1"};
    assert_int_equal(wire->call_output(&out, &call, "x\n", 2, NULL), 0);
    assert_string_equal(out.data,
                        "{\"role\":\"tool\",\"tool_call_id\":\"c\\\"1\",\"content\":\"x\\n\"}");
    char large[200] = "";
    assert_true(wire->call_output(&out, &call, large, sizeof large, NULL) < 0);
    assert_true(wire->user_messages(&out, &(struct message){large, sizeof large}, 1) < 0);
    buf_release(&out);
}

/* ---- answers */

static const char *const chunks[] = {
    "{\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null,"
    "\"reasoning_content\":\"h\"},\"finish_reason\":null}],\"usage\":null}",
    "{\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"m\\u00e9\"},"
    "\"finish_reason\":null}]}",
    "{\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Let \"}}]}",
    "{\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"me\\u0000 look\"}}]}",
    "{\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":"
    "\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}]}",
    "{\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":"
    "{\"arguments\":\"{\\\"a\\\": \"}}]}}]}",
    "{\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":"
    "\"call_2\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}},"
    "{\"index\":0,\"function\":{\"arguments\":\"1}\"}}]}}]}",
    "{\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}",
    "{\"id\":\"1\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":7,"
    "\"prompt_tokens_details\":{\"cached_tokens\":4},"
    "\"completion_tokens_details\":{\"reasoning_tokens\":3}}}",
};
enum { CHUNKS = sizeof chunks / sizeof chunks[0], FINISH = 7 };

static const char whole_message[] =
    "{\"role\":\"assistant\",\"content\":\"Let me\\ufffd look\",\"reasoning_content\":\"hm\xc3\xa9\","
    "\"tool_calls\":[{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
    "\"arguments\":\"{\\\"a\\\": 1}\"}},{\"id\":\"call_2\",\"type\":\"function\",\"function\":{"
    "\"name\":\"g\",\"arguments\":\"{}\"}}]}";

static struct stream usual_stream(void)
{
    struct stream stream = new_stream();
    buf_append_str(&stream.text, ": OPENROUTER PROCESSING\n\n");
    for (size_t i = 0; i < CHUNKS; i++)
        add_event(&stream, chunks[i]);
    add_event(&stream, "[DONE]");
    return stream;
}

static void assert_usual(const struct answer *answer)
{
    const struct item *items = answer->response.items;
    assert_int_equal(answer->state, ANSWER_WHOLE);
    assert_int_equal(answer->response.count, 4);
    assert_int_equal(items[0].kind, ITEM_REASONING);
    assert_string_equal(items[0].text, "hm\xc3\xa9");
    json_t *said = json_loads(items[0].json, 0, NULL);
    json_t *wanted = json_loads(whole_message, 0, NULL);
    assert_true(json_equal(said, wanted));
    json_decref(said);
    json_decref(wanted);
    assert_int_equal(items[1].kind, ITEM_MESSAGE);
    assert_null(items[1].json);
    assert_int_equal(items[2].kind, ITEM_CALL);
    assert_string_equal(items[2].call_id, "call_1");
    assert_string_equal(items[2].name, "f");
    assert_string_equal(items[2].arguments, "{\"a\": 1}");
    assert_string_equal(items[3].call_id, "call_2");
    assert_string_equal(items[3].arguments, "{}");
    assert_usage(answer, 10, 4, 7, 3);
}

static void an_answer_is_read_however_it_is_split(void **state)
{
    struct stream stream = usual_stream();
    read_at_every_split(&stream, assert_usual);
    buf_release(&stream.text);
}

/* Up to the chunk that ends it: behind that, only figures can get lost. */
static void an_answer_that_is_cut_anywhere_is_broken(void **state)
{
    struct stream stream = usual_stream();
    const char *end = strstr(stream.text.data, "\"finish_reason\":\"tool_calls\"");
    cut_everywhere(&stream, (size_t)(end - stream.text.data));
    buf_release(&stream.text);
}

static void what_is_missing_is_noticed(void **state)
{
    static const char *const required[] = {
        "0.choices",
        "0.choices.0.delta",
        "1.choices",
        "1.choices.0.delta",
        "3.choices.0.delta",
        "4.choices.0.delta",
        "4.choices.0.delta.tool_calls.0.id",
        "4.choices.0.delta.tool_calls.0.function",
        "4.choices.0.delta.tool_calls.0.function.name",
        "6.choices.0.delta.tool_calls.0.id",
        "6.choices.0.delta.tool_calls.0.function",
        "6.choices.0.delta.tool_calls.0.function.name",
        "6.choices.0.delta.tool_calls.0.function.arguments",
        "7.choices",
        "7.choices.0.delta",
        "7.choices.0.finish_reason",
    };
    remove_every_member(chunks, CHUNKS, "data: [DONE]\n\n", required,
                        sizeof required / sizeof required[0]);
}

/* One chunk with this choice, finished for REASON. */
static struct answer *read_choice(const char *choice, const char *reason)
{
    struct stream stream = new_stream();
    AUTO_FREE char *chunk = NULL, *end = NULL;
    assert_true(asprintf(&chunk, "{\"choices\":[{\"index\":0,%s}]}", choice) > 0);
    assert_true(asprintf(&end,
                         "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"%s\"}]}",
                         reason) > 0);
    add_event(&stream, chunk);
    add_event(&stream, end);
    add_event(&stream, "[DONE]");
    return read_and_release(&stream);
}

static void ends_are_told_apart(void **state)
{
    static const struct {
        const char *reason;
        enum answer_state state;
        enum failure_kind kind;
    } cases[] = {
        {"stop", ANSWER_WHOLE, 0},
        {"end_turn", ANSWER_WHOLE, 0},
        {"length", ANSWER_CUT_SHORT, 0},
        {"model_length", ANSWER_CUT_SHORT, 0},
        {"content_filter", ANSWER_FAILED, FAILURE_FILTERED},
        {"insufficient_system_resource", ANSWER_FAILED, FAILURE_OVERLOADED},
        {"abort", ANSWER_FAILED, FAILURE_BROKEN_STREAM},
        {"tool_calls", ANSWER_FAILED, FAILURE_BROKEN_STREAM}, /* without one */
        {"", ANSWER_FAILED, FAILURE_BROKEN_STREAM},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct answer *answer = read_choice("\"delta\":{\"content\":\"x\"}", cases[i].reason);
        assert_int_equal(answer->state, cases[i].state);
        if (answer->state == ANSWER_FAILED)
            assert_int_equal(answer->failure.kind, cases[i].kind);
        if (answer->state == ANSWER_CUT_SHORT)
            assert_int_equal(answer->response.count, 0);
        wire->answer_free(answer);
    }
}

static void a_stream_may_end_without_done(void **state)
{
    struct stream stream = new_stream();
    add_event(&stream, chunks[2]);
    add_event(&stream, chunks[FINISH]);
    add_event(&stream, chunks[CHUNKS - 1]);
    struct answer *broken = read_stream(&stream, 10, 10); /* for calls that are not there */
    assert_int_equal(broken->state, ANSWER_FAILED);
    wire->answer_free(broken);
    buf_release(&stream.text);

    stream = new_stream();
    add_event(&stream, chunks[2]);
    add_event(&stream, "{\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":\"stop\"}],"
                       "\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1,"
                       "\"prompt_cache_hit_tokens\":2}}");
    struct answer *answer = read_and_release(&stream);
    assert_int_equal(answer->state, ANSWER_WHOLE);
    assert_string_equal(answer->response.items[0].text, "Let ");
    assert_usage(answer, 5, 2, 1, 0);
    wire->answer_free(answer);
}

/* Ollama gives every call the index 0, Google none; some give the id with every piece. */
static void calls_are_told_apart_without_their_index(void **state)
{
    static const char *const choices[] = {
        "\"delta\":{\"tool_calls\":["
        "{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
        "{\"index\":0,\"id\":\"b\",\"function\":{\"name\":\"f\",\"arguments\":\"[]\"}}]}",
        "\"delta\":{\"tool_calls\":["
        "{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
        "{\"id\":\"b\",\"function\":{\"name\":\"f\",\"arguments\":\"[]\"}}]}",
        "\"delta\":{\"tool_calls\":["
        "{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}},"
        "{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"}\"}},"
        "{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"f\",\"arguments\":\"[\"}},"
        "{\"index\":1,\"id\":\"\",\"function\":{\"name\":\"\",\"arguments\":\"]\"}}]}",
        "\"delta\":{\"tool_calls\":["
        "{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":{}}},"
        "{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"f\",\"arguments\":\"[\"}},"
        "{\"index\":1,\"id\":\"c\",\"function\":{\"arguments\":\"]\"}}]}",
    };
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        struct answer *answer = read_choice(choices[i], "tool_calls");
        assert_int_equal(answer->state, ANSWER_WHOLE);
        assert_int_equal(answer->response.count, 2);
        assert_string_equal(answer->response.items[0].call_id, "a");
        assert_string_equal(answer->response.items[0].arguments, "{}");
        assert_string_equal(answer->response.items[1].call_id, "b");
        assert_string_equal(answer->response.items[1].name, "f");
        assert_string_equal(answer->response.items[1].arguments, "[]");
        /* What is no object goes back within one. */
        assert_non_null(
            strstr(answer->response.items[0].json, "{\\\"invalid_json\\\":\\\"[]\\\"}"));
        wire->answer_free(answer);
    }
}

static void calls_that_lack_something_are_noticed(void **state)
{
    static const char *const calls[] = {
        "{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}",
        "{\"index\":0,\"id\":\"\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}",
        "{\"index\":0,\"id\":\"a\",\"function\":{\"arguments\":\"{}\"}}",
        "{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\"}}",
        "{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":7}}",
        "{\"index\":0,\"id\":\"a\"}",
        "{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}},"
        "{\"index\":0,\"function\":{\"name\":\"g\",\"arguments\":\"}\"}}",
        "{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
        "{\"index\":1,\"id\":\"a\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}",
    };
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        AUTO_FREE char *delta = NULL;
        assert_true(asprintf(&delta, "\"delta\":{\"tool_calls\":[%s]}", calls[i]) > 0);
        struct answer *answer = read_choice(delta, "tool_calls");
        if (answer->state != ANSWER_FAILED)
            fail_msg("not noticed: %s", calls[i]);
        wire->answer_free(answer);
    }
}

/* Google's signatures, OpenRouter's and vLLM's thoughts: what their servers want back. */
static void what_only_its_server_understands_goes_back(void **state)
{
    struct answer *answer = read_choice(
        "\"delta\":{\"reasoning\":\"r\",\"reasoning_details\":[{\"type\":\"reasoning.encrypted\","
        "\"data\":\"enc\"}],\"extra_content\":{\"google\":{\"thought_signature\":\"s1\"}},"
        "\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":"
        "\"{}\"},\"extra_content\":{\"google\":{\"thought_signature\":\"s2\"}}}]}",
        "tool_calls");
    assert_int_equal(answer->state, ANSWER_WHOLE);
    assert_raw(&answer->response.items[0],
               "{\"role\":\"assistant\",\"content\":null,\"reasoning\":\"r\","
               "\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":\"enc\"}],"
               "\"extra_content\":{\"google\":{\"thought_signature\":\"s1\"}},\"tool_calls\":[{"
               "\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"
               "\"{}\"},\"extra_content\":{\"google\":{\"thought_signature\":\"s2\"}}}]}");
    wire->answer_free(answer);
}

static void refusals_and_parts_are_words(void **state)
{
    struct answer *answer =
        read_choice("\"delta\":{\"content\":\"\",\"refusal\":\"I will not.\"}", "stop");
    assert_int_equal(answer->state, ANSWER_WHOLE);
    assert_string_equal(answer->response.items[0].text, "I will not.");
    wire->answer_free(answer);
    answer = read_choice("\"delta\":{\"content\":[{\"type\":\"thinking\",\"thinking\":[]},"
                         "{\"type\":\"text\",\"text\":\"yes\"}]}",
                         "stop");
    assert_string_equal(answer->response.items[0].text, "yes");
    wire->answer_free(answer);
}

/* As vLLM, llama.cpp, OpenRouter and LiteLLM send them. */
static void errors_in_the_stream_are_told_apart(void **state)
{
    static const struct {
        const char *event;
        enum failure_kind kind;
    } cases[] = {
        {"{\"error\":{\"message\":\"boom\",\"code\":500,\"type\":\"server_error\"}}",
         FAILURE_SERVER},
        {"{\"error\":{\"message\":\"slow down\",\"code\":429}}", FAILURE_RATE_LIMIT},
        {"{\"error\":{\"code\":400,\"type\":\"exceed_context_size_error\",\"message\":\"x\"}}",
         FAILURE_CONTEXT},
        {"{\"object\":\"error\",\"message\":\"no\",\"code\":400}", FAILURE_REJECTED},
        {"{\"error\":{\"code\":\"insufficient_quota\",\"message\":\"x\"},\"choices\":[{\"index\":0,"
         "\"delta\":{\"content\":\"\"},\"finish_reason\":\"error\"}]}",
         FAILURE_QUOTA},
        {"{\"error\":\"just a text\"}", FAILURE_SERVER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stream stream = new_stream();
        add_event(&stream, chunks[2]);
        add_event(&stream, cases[i].event);
        struct answer *answer = read_and_release(&stream);
        assert_int_equal(answer->state, ANSWER_FAILED);
        assert_int_equal(answer->failure.kind, cases[i].kind);
        wire->answer_free(answer);
    }
}

static void a_lost_event_breaks_the_answer(void **state)
{
    static const char *const lost[] = {"{broken",          "[]", "7",
                                       "{\"choices\":{}}", "{}", "{\"choices\":[{\"index\":0}]}"};
    for (size_t i = 0; i < sizeof lost / sizeof lost[0]; i++) {
        struct stream stream = new_stream();
        add_event(&stream, chunks[2]);
        add_event(&stream, lost[i]);
        add_event(&stream, "{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}");
        add_event(&stream, "[DONE]");
        struct answer *answer = read_and_release(&stream);
        if (answer->state != ANSWER_FAILED)
            fail_msg("not noticed: %s", lost[i]);
        wire->answer_free(answer);
    }
}

/* Azure: the filter's own chunks. */
static void chunks_of_a_filter_are_passed_over(void **state)
{
    struct stream stream = new_stream();
    add_event(&stream, "{\"choices\":[],\"prompt_filter_results\":[]}");
    add_event(&stream, chunks[2]);
    add_event(&stream, "{\"choices\":[{\"index\":0,\"finish_reason\":null,"
                       "\"content_filter_offsets\":{\"check_offset\":1}}]}");
    add_event(&stream, "{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}");
    add_event(&stream, "[DONE]");
    struct answer *answer = read_and_release(&stream);
    assert_int_equal(answer->state, ANSWER_WHOLE);
    wire->answer_free(answer);
}

static void a_completion_in_one_piece_is_an_answer(void **state)
{
    struct stream stream = new_stream();
    buf_appendf(&stream.text,
                "{\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":%s,"
                "\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":10,"
                "\"completion_tokens\":7,\"prompt_tokens_details\":{\"cached_tokens\":4},"
                "\"completion_tokens_details\":{\"reasoning_tokens\":3}}}",
                whole_message);
    read_at_every_split(&stream, assert_usual);
    cut_everywhere(&stream, stream.text.len);
    buf_release(&stream.text);
    static const char *const bad[] = {"{}", "{\"choices\":[]}", "{\"error\":{\"message\":\"x\"}}",
                                      "{\"choices\":[{\"message\":{\"content\":\"x\"}}]}",
                                      "{\"choices\":[{\"finish_reason\":\"stop\"}]}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct answer *answer = read_text(bad[i]);
        assert_int_equal(answer->state, ANSWER_FAILED);
        wire->answer_free(answer);
    }
}

static void an_endless_answer_is_an_end(void **state)
{
    struct buf chunk;
    buf_init(&chunk, 1 << 20);
    buf_append_str(&chunk, "data: {\"choices\":[{\"delta\":{\"content\":\"");
    for (size_t i = 0; i < 1 << 16; i++)
        buf_append_str(&chunk, "12345678");
    buf_append_str(&chunk, "\"}}]}\n\n");
    struct answer *answer = wire->answer_new();
    for (size_t i = 0; i < 40; i++)
        wire->answer_feed(answer, chunk.data, chunk.len);
    assert_int_equal(answer->state, ANSWER_FAILED);
    wire->answer_free(answer);
    buf_release(&chunk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_says_little),
        cmocka_unit_test(every_tool_is_a_function),
        cmocka_unit_test(what_a_server_refuses_is_left_out),
        cmocka_unit_test(without_usage_in_a_stream_there_is_no_stream),
        cmocka_unit_test(thoughts_that_are_refused_stay_here),
        cmocka_unit_test(messages_of_one_moment_are_one),
        cmocka_unit_test(an_answer_is_read_however_it_is_split),
        cmocka_unit_test(an_answer_that_is_cut_anywhere_is_broken),
        cmocka_unit_test(what_is_missing_is_noticed),
        cmocka_unit_test(ends_are_told_apart),
        cmocka_unit_test(a_stream_may_end_without_done),
        cmocka_unit_test(calls_are_told_apart_without_their_index),
        cmocka_unit_test(calls_that_lack_something_are_noticed),
        cmocka_unit_test(what_only_its_server_understands_goes_back),
        cmocka_unit_test(refusals_and_parts_are_words),
        cmocka_unit_test(errors_in_the_stream_are_told_apart),
        cmocka_unit_test(a_lost_event_breaks_the_answer),
        cmocka_unit_test(chunks_of_a_filter_are_passed_over),
        cmocka_unit_test(a_completion_in_one_piece_is_an_answer),
        cmocka_unit_test(an_endless_answer_is_an_end),
    };
    return cmocka_run_group_tests_name("agent_chat", tests, NULL, NULL);
}
