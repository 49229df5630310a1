/* The Responses API: what a request says, and what is read from an answer, however it arrives. */
#include "wire.h"

#include "base/cleanup.h"

const struct provider *const wire = &provider_responses;

/* ---- requests */

static void a_request_has_every_member(void **state)
{
    json_t *json = request("gpt-5-codex", "high", 0);
    assert_string_equal(string_at(json, "model"), "gpt-5-codex");
    assert_string_equal(string_at(json, "instructions"), "Work.\n");
    assert_string_equal(string_at(json, "tool_choice"), "auto");
    assert_string_equal(string_at(json, "prompt_cache_key"), "task-abc123");
    assert_true(json_is_false(json_object_get(json, "store")));
    assert_true(json_is_true(json_object_get(json, "stream")));
    assert_true(json_is_true(json_object_get(json, "parallel_tool_calls")));
    const json_t *reasoning = json_object_get(json, "reasoning");
    assert_string_equal(string_at(reasoning, "effort"), "high");
    assert_string_equal(string_at(reasoning, "summary"), "auto");
    const json_t *include = json_object_get(json, "include");
    assert_string_equal(json_string_value(json_array_get(include, 0)),
                        "reasoning.encrypted_content");
    const json_t *message = json_array_get(json_object_get(json, "input"), 0);
    assert_string_equal(string_at(message, "role"), "user");
    const json_t *part = json_array_get(json_object_get(message, "content"), 0);
    assert_string_equal(string_at(part, "type"), "input_text");
    assert_string_equal(string_at(part, "text"), "hi\xef\xbf\xbd");
    assert_null(json_object_get(json, "previous_response_id"));
    json_decref(json);
}

static void freeform_tools_are_offered_to_models_that_take_them(void **state)
{
    static const struct {
        const char *model;
        bool custom;
    } models[] = {{"gpt-5", true},        {"gpt-5.1-codex", true}, {"codex-mini-latest", true},
                  {"openai/gpt-5", true}, {"gpt-10", true},        {"o3", false},
                  {"gpt-4.1", false},     {"gpt-oss-120b", false}, {"qwen3-coder", false}};
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        json_t *json = request(models[i].model, "low", 0);
        const json_t *list = json_object_get(json, "tools");
        assert_int_equal(json_array_size(list), 2);
        assert_string_equal(string_at(json_array_get(list, 0), "type"), "function");
        const json_t *patch = json_array_get(list, 1);
        assert_string_equal(string_at(patch, "name"), "apply_patch");
        if (models[i].custom) {
            assert_string_equal(string_at(patch, "type"), "custom");
            const json_t *format = json_object_get(patch, "format");
            assert_string_equal(string_at(format, "syntax"), "lark");
            assert_string_equal(string_at(format, "definition"), "start: \"x\"\n");
        } else {
            assert_string_equal(string_at(patch, "type"), "function");
            const json_t *parameters = json_object_get(patch, "parameters");
            const json_t *required = json_object_get(parameters, "required");
            assert_string_equal(json_string_value(json_array_get(required, 0)), "input");
            assert_non_null(strstr(string_at(patch, "description"), "start: \"x\""));
        }
        json_decref(json);
    }
}

static void what_a_server_refuses_is_left_out(void **state)
{
    static const struct {
        const char *error;
        const char *member, *inner;
    } cases[] = {
        {"{\"param\":\"reasoning.summary\"}", "reasoning", "summary"},
        {"{\"param\":\"text.verbosity\"}", "text", NULL},
        {"{\"param\":\"prompt_cache_key\"}", "prompt_cache_key", NULL},
        {"{\"param\":\"parallel_tool_calls\"}", "parallel_tool_calls", NULL},
        {"{\"param\":\"include\"}", "include", NULL},
        {"{\"param\":\"reasoning.effort\",\"code\":\"unsupported_parameter\"}", "reasoning", NULL},
        {"{\"param\":\"reasoning\",\"code\":\"unsupported_parameter\"}", "include", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned bit = refused("o3", cases[i].error);
        assert_int_not_equal(bit, 0);
        json_t *json = request("o3", "low", bit);
        const json_t *value = json_object_get(json, cases[i].member);
        assert_null(cases[i].inner ? json_object_get(value, cases[i].inner) : value);
        json_decref(json);
    }
    assert_int_equal(refused("o3", "{\"param\":\"model\"}"), 0);
    assert_int_equal(refused("o3", "{}"), 0);
    /* An effort that the model lacks is for the user to change. */
    assert_int_equal(
        refused("o3", "{\"param\":\"reasoning.effort\",\"code\":\"unsupported_value\"}"), 0);

    json_t *plain = request("gpt-4.1", NULL, 0); /* without reasoning, nothing of it */
    assert_null(json_object_get(plain, "reasoning"));
    assert_null(json_object_get(plain, "include"));
    json_decref(plain);
}

/* As LM Studio, OpenAI, llama.cpp, vLLM and a proxy to another API say it. */
static void a_server_that_takes_functions_only_gets_them(void **state)
{
    static const char *const errors[] = {
        "{\"message\":\"Invalid\",\"param\":\"tools.1.type\",\"code\":\"invalid_string\"}",
        "{\"message\":\"Invalid value: 'custom'.\",\"param\":\"tools[1].type\"}",
        "{\"message\":\"'type' of tool must be 'function'\",\"code\":400}",
        "{\"message\":\"tools.1 Input tag 'custom' found using 'type' does not match any tag\"}",
        "{\"message\":\"tools.1.custom.input_schema: Input does not match the expected shape.\"}",
    };
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        unsigned bit = refused("gpt-5", errors[i]);
        assert_int_not_equal(bit, 0);
        json_t *json = request("gpt-5", "low", bit);
        const json_t *patch = json_array_get(json_object_get(json, "tools"), 1);
        assert_string_equal(string_at(patch, "type"), "function");
        json_decref(json);
        assert_int_equal(refused("o3", errors[i]), 0); /* was asked that way already */
    }
    assert_int_equal(refused("gpt-5", "{\"message\":\"no tool output found for call_1\"}"), 0);
}

/* ---- answers */

static const char reasoning[] = "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{\"type\":"
                                "\"summary_text\",\"text\":\"hm\"},"
                                "{\"type\":\"summary_text\",\"text\":\"ha\"}],\"encrypted_"
                                "content\":\"gAAAA\\u00e9==\",\"x\":1.50e1}";
static const char message[] =
    "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":["
    "{\"type\":\"output_text\",\"text\":\"a\\u0000b\",\"annotations\":[]},{\"type\":\"refusal\","
    "\"refusal\":\"no\"}]}";
static const char function_call[] = "{ \"type\":\"function_call\", "
                                    "\"id\":\"fc_1\",\"call_id\":\"call_1\",\"name\":\"f\","
                                    "\"arguments\":\"{}\",\"status\":\"completed\" }";
static const char custom_call[] =
    "{\"type\":\"custom_tool_call\",\"call_id\":\"call_2\",\"name\":\"p\",\"input\":\"*** x\\n\"}";
static const char unknown_item[] =
    "{\"type\":\"web_search_call\",\"id\":\"ws_1\",\"action\":{\"a\":[1,2]}}";

static const char completed[] =
    "{\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"usage\":{\"input_tokens\":10,"
    "\"input_tokens_details\":{\"cached_tokens\":4},\"output_tokens\":7,"
    "\"output_tokens_details\":{\"reasoning_tokens\":3},\"total_tokens\":17}}}";

static void add_item(struct stream *stream, const char *item)
{
    buf_appendf(&stream->text,
                "event: response.output_item.done\r\ndata: {\"type\":\"response.output_item.done\","
                "\"output_index\":0,\"item\":%s,\"sequence_number\":3}\r\n\r\n",
                item);
}

/* A whole answer with every kind of item and with what is to be ignored. */
static struct stream usual_stream(void)
{
    struct stream stream = new_stream();
    buf_append_str(&stream.text, ": hello\n\n");
    add_event(&stream, "{\"type\":\"response.created\",\"response\":{}}");
    add_item(&stream, reasoning);
    buf_append_str(&stream.text, "event: response.output_text.delta\ndata: {broken\n\n");
    add_item(&stream, message);
    add_event(&stream, "{\"type\":\"response.future\",\"item\":{\"type\":\"function_call\"}}");
    add_item(&stream, function_call);
    add_item(&stream, custom_call);
    add_item(&stream, unknown_item);
    add_event(&stream, completed);
    return stream;
}

static void assert_usual(const struct answer *answer)
{
    assert_int_equal(answer->state, ANSWER_WHOLE);
    const struct response *response = &answer->response;
    assert_int_equal(response->count, 5);
    assert_int_equal(response->items[0].kind, ITEM_REASONING);
    assert_raw(&response->items[0], reasoning);
    assert_string_equal(response->items[0].text, "hm\n\nha");
    assert_int_equal(response->items[1].kind, ITEM_MESSAGE);
    assert_raw(&response->items[1], message);
    assert_string_equal(response->items[1].text, "a\xef\xbf\xbd"
                                                 "b\n\nno");
    assert_int_equal(response->items[2].kind, ITEM_CALL);
    assert_raw(&response->items[2], function_call);
    assert_string_equal(response->items[2].call_id, "call_1");
    assert_string_equal(response->items[2].arguments, "{}");
    assert_false(response->items[2].custom);
    assert_int_equal(response->items[3].kind, ITEM_CALL);
    assert_true(response->items[3].custom);
    assert_string_equal(response->items[3].arguments, "*** x\n");
    assert_int_equal(response->items[4].kind, ITEM_OTHER);
    assert_raw(&response->items[4], unknown_item);
    assert_usage(answer, 10, 4, 7, 3);
}

static void an_answer_is_read_however_it_is_split(void **state)
{
    struct stream stream = usual_stream();
    read_at_every_split(&stream, assert_usual);
    buf_release(&stream.text);
}

static void an_answer_that_is_cut_anywhere_is_broken(void **state)
{
    struct stream stream = usual_stream();
    cut_everywhere(&stream, stream.text.len);
    buf_release(&stream.text);
}

static void a_final_list_stands_in_for_items_that_were_not_sent(void **state)
{
    struct stream stream = new_stream();
    char event[4096];
    snprintf(event, sizeof event,
             "{\"type\":\"response.completed\",\"response\":{\"output\":[%s ,\n%s]}}", reasoning,
             function_call);
    add_event(&stream, "{\"type\":\"response.output_item.added\",\"item\":{}}");
    /* A line end within the JSON: as two data lines. */
    char *end = strchr(event, '\n');
    *end = '\0';
    buf_appendf(&stream.text, "data: %s\ndata: %s\n\n", event, end + 1);
    struct answer *answer = read_and_release(&stream);
    assert_int_equal(answer->state, ANSWER_WHOLE);
    assert_int_equal(answer->response.count, 2);
    assert_raw(&answer->response.items[0], reasoning);
    assert_string_equal(answer->response.items[1].call_id, "call_1");
    provider_responses.answer_free(answer);
}

static void a_lost_item_is_found_in_the_final_list_or_missed(void **state)
{
    for (int with_list = 0; with_list < 2; with_list++) {
        struct stream stream = new_stream();
        add_item(&stream, message);
        add_event(&stream, "{\"type\":\"response.output_item.done\",\"item\":{\"type\":");
        char event[4096];
        snprintf(event, sizeof event, "{\"type\":\"response.completed\",\"response\":{%s%s,%s%s}}",
                 with_list ? "\"output\":[" : "\"a\":[", message, function_call, "]");
        add_event(&stream, event);
        struct answer *answer = read_and_release(&stream);
        assert_int_equal(answer->state, with_list ? ANSWER_WHOLE : ANSWER_FAILED);
        assert_int_equal(answer->response.count, with_list ? 2 : 1);
        provider_responses.answer_free(answer);
    }
}

/* Whatever a call needs: without it, the answer is not used. */
static void calls_that_lack_something_are_noticed(void **state)
{
    static const char *const bad[] = {
        "{\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"}",
        "{\"type\":\"function_call\",\"name\":\"f\",\"arguments\":\"{}\"}",
        "{\"type\":\"function_call\",\"call_id\":\"\",\"name\":\"f\",\"arguments\":\"{}\"}",
        "{\"type\":\"function_call\",\"call_id\":\"c\",\"arguments\":\"{}\"}",
        "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\"}",
        "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":{}}",
        "{\"type\":\"custom_tool_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"\"}",
        "{\"type\":\"custom_tool_call\",\"name\":\"f\",\"input\":\"\"}",
        "{\"type\":7}",
        "[]",
        "null",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct stream stream = new_stream();
        add_item(&stream, bad[i]);
        add_event(&stream, completed);
        struct answer *answer = read_and_release(&stream);
        assert_int_equal(answer->state, ANSWER_FAILED);
        assert_int_equal(answer->failure.kind, FAILURE_BROKEN_STREAM);
        provider_responses.answer_free(answer);
    }
}

/* Servers parse what they get back (Ollama, vLLM, llama.cpp), and would refuse every request of the
 * conversation. What the model wrote is still what is answered. */
static void arguments_that_are_no_object_go_back_as_one(void **state)
{
    static const char *const arguments[] = {"{\"cmd\": \"ec\\\"ho", "", "[]", "\"x\"", "{} {}"};
    for (size_t i = 0; i < sizeof arguments / sizeof arguments[0]; i++) {
        json_t *json = json_pack("{s:s,s:s,s:s,s:s,s:s}", "type", "function_call", "id", "fc_1",
                                 "call_id", "c", "name", "f", "arguments", arguments[i]);
        AUTO_FREE char *raw = json_dumps(json, JSON_COMPACT);
        struct response response = {0};
        struct json_span span = {raw, strlen(raw)};
        struct err err;
        assert_int_equal(provider_responses.read_item(&response, json, span, &err), 0);
        const struct item *item = &response.items[0];
        assert_string_equal(item->arguments, arguments[i]);
        assert_int_equal(item->json_len, strlen(item->json));
        json_t *kept = json_loads(item->json, 0, NULL);
        assert_string_equal(string_at(kept, "id"), "fc_1");
        json_t *object = json_loads(string_at(kept, "arguments"), 0, NULL);
        assert_string_equal(string_at(object, "invalid_json"), arguments[i]);
        json_decref(object);
        json_decref(kept);
        json_decref(json);
        response_release(&response);
    }
}

static void two_calls_with_one_id_are_refused(void **state)
{
    struct stream stream = new_stream();
    add_item(&stream, function_call);
    add_item(&stream, function_call);
    add_event(&stream, completed);
    struct answer *answer = read_and_release(&stream);
    assert_int_equal(answer->state, ANSWER_FAILED);
    provider_responses.answer_free(answer);
}

static void nothing_counts_behind_the_terminal_event(void **state)
{
    struct stream stream = new_stream();
    add_item(&stream, message);
    add_event(&stream, completed);
    add_item(&stream, function_call);
    add_event(&stream, "{\"type\":\"response.failed\"}");
    struct answer *answer = read_and_release(&stream);
    assert_int_equal(answer->state, ANSWER_WHOLE);
    assert_int_equal(answer->response.count, 1);
    provider_responses.answer_free(answer);
}

static void errors_in_the_stream_are_told_apart(void **state)
{
    static const struct {
        const char *event;
        enum failure_kind kind;
        int64_t wait_ms;
    } cases[] = {
        {"{\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"rate_limit_exceeded\","
         "\"message\":\"Please try again in 1.5s.\"}}}",
         FAILURE_RATE_LIMIT, 1500},
        {"{\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_is_overloaded\"}"
         "}}",
         FAILURE_OVERLOADED, -1},
        {"{\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"insufficient_quota\"}}"
         "}",
         FAILURE_QUOTA, -1},
        {"{\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"context_length_"
         "exceeded\"}}}",
         FAILURE_CONTEXT, -1},
        {"{\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"invalid_prompt\"}}}",
         FAILURE_REJECTED, -1},
        {"{\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"something_new\"}}}",
         FAILURE_SERVER, -1},
        {"{\"type\":\"response.failed\",\"response\":{\"error\":null}}", FAILURE_SERVER, -1},
        {"{\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"x\"}",
         FAILURE_RATE_LIMIT, -1},
        {"{\"type\":\"error\",\"error\":{\"code\":\"context_length_exceeded\",\"message\":\"x\"}}",
         FAILURE_CONTEXT, -1},
        {"{\"type\":\"response.incomplete\",\"response\":{\"incomplete_details\":{\"reason\":"
         "\"content_filter\"}}}",
         FAILURE_FILTERED, -1},
        {"{\"type\":\"response.incomplete\",\"response\":{}}", FAILURE_BROKEN_STREAM, -1},
        /* vLLM and others, in the middle of a stream */
        {"{\"error\":{\"message\":\"engine died, try again in 2s\",\"code\":500}}", FAILURE_SERVER,
         2000},
        {"{\"error\":{\"message\":\"no\",\"type\":\"BadRequestError\",\"code\":400}}",
         FAILURE_REJECTED, -1},
        {"{\"error\":\"out of memory\"}", FAILURE_SERVER, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stream stream = new_stream();
        add_item(&stream, function_call);
        add_event(&stream, cases[i].event);
        struct answer *answer = read_and_release(&stream);
        assert_int_equal(answer->state, ANSWER_FAILED);
        assert_int_equal(answer->failure.kind, cases[i].kind);
        assert_int_equal(answer->failure.wait_ms, cases[i].wait_ms);
        provider_responses.answer_free(answer);
    }
}

static void an_event_that_is_called_an_error_is_one(void **state)
{
    struct stream stream = new_stream();
    buf_append_str(&stream.text, "event: error\ndata: {\"code\":500,\"message\":\"context size has "
                                 "been exceeded\",\"type\":\"server_error\"}\n\n");
    struct answer *answer = read_and_release(&stream);
    assert_int_equal(answer->state, ANSWER_FAILED);
    assert_int_equal(answer->failure.kind, FAILURE_CONTEXT);
    provider_responses.answer_free(answer);
}

/* Servers that do not stream, although they were asked to. */
static void a_plain_response_is_an_answer(void **state)
{
    struct stream stream = new_stream();
    buf_appendf(&stream.text,
                "\r\n {\"object\":\"response\",\"status\":\"completed\",\"error\":null,"
                "\"output\":[%s, %s],\"usage\":{\"input_tokens\":10}}\n",
                reasoning, function_call);
    for (size_t step = 1; step < 70; step += 23) {
        struct answer *answer = read_stream(&stream, 1, step);
        assert_int_equal(answer->state, ANSWER_WHOLE);
        assert_int_equal(answer->response.count, 2);
        assert_raw(&answer->response.items[0], reasoning);
        assert_string_equal(answer->response.items[1].call_id, "call_1");
        assert_int_equal(answer->response.usage.input_tokens, 10);
        assert_true(answer->events > 0);
        provider_responses.answer_free(answer);
    }
    for (size_t len = 4; len < stream.text.len - 2; len++) { /* cut: never an answer */
        struct stream part = {.text = stream.text};
        part.text.len = len;
        struct answer *answer = read_stream(&part, len, 1);
        assert_int_equal(answer->state, ANSWER_FAILED);
        assert_int_equal(answer->failure.kind, FAILURE_BROKEN_STREAM);
        provider_responses.answer_free(answer);
    }
    buf_release(&stream.text);
    static const struct {
        const char *body;
        enum answer_state state;
        enum failure_kind kind;
    } cases[] = {
        {"{\"status\":\"failed\",\"error\":{\"code\":\"rate_limit_exceeded\"},\"output\":[]}",
         ANSWER_FAILED, FAILURE_RATE_LIMIT},
        {"{\"error\":\"no\"}", ANSWER_FAILED, FAILURE_SERVER},
        {"{\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"max_output_tokens\"},"
         "\"output\":[]}",
         ANSWER_CUT_SHORT, 0},
        {"{\"choices\":[]}", ANSWER_FAILED, FAILURE_BROKEN_STREAM}, /* another API's */
        {"{\"status\":\"in_progress\",\"output\":[]}", ANSWER_FAILED, FAILURE_BROKEN_STREAM},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        stream = new_stream();
        buf_append_str(&stream.text, cases[i].body);
        struct answer *answer = read_and_release(&stream);
        assert_int_equal(answer->state, cases[i].state);
        if (cases[i].state == ANSWER_FAILED)
            assert_int_equal(answer->failure.kind, cases[i].kind);
        provider_responses.answer_free(answer);
    }
}

static void an_answer_at_the_output_limit_keeps_only_its_usage(void **state)
{
    struct stream stream = new_stream();
    add_item(&stream, function_call);
    add_event(&stream, "{\"type\":\"response.incomplete\",\"response\":{\"incomplete_details\":{"
                       "\"reason\":\"max_output_tokens\"},\"usage\":{\"output_tokens\":9}}}");
    struct answer *answer = read_and_release(&stream);
    assert_int_equal(answer->state, ANSWER_CUT_SHORT);
    assert_int_equal(answer->response.count, 0);
    assert_int_equal(answer->response.usage.output_tokens, 9);
    provider_responses.answer_free(answer);
}

static void an_endless_event_is_an_end(void **state)
{
    struct answer *answer = provider_responses.answer_new();
    char chunk[65536];
    memset(chunk, 'x', sizeof chunk);
    provider_responses.answer_feed(answer, "data: ", 6);
    for (size_t i = 0; i <= ANSWER_MAX_BYTES / sizeof chunk; i++)
        provider_responses.answer_feed(answer, chunk, sizeof chunk);
    assert_int_equal(answer->state, ANSWER_FAILED);
    provider_responses.answer_free(answer);
    answer = provider_responses.answer_new();
    provider_responses.answer_feed(answer, "{", 1);
    for (size_t i = 0; i <= ANSWER_MAX_BYTES / sizeof chunk; i++)
        provider_responses.answer_feed(answer, chunk, sizeof chunk);
    assert_int_equal(answer->state, ANSWER_FAILED);
    provider_responses.answer_free(answer);
}

static void outputs_answer_in_the_shape_of_their_call(void **state)
{
    struct item function = {.call_id = (char *)"c\"1"},
                custom = {.call_id = (char *)"c2", .custom = true};
    struct buf out;
    buf_init(&out, 200);
    assert_int_equal(provider_responses.call_output(&out, &function, "a\n", 2, NULL), 0);
    assert_string_equal(out.data, "{\"type\":\"function_call_output\",\"call_id\":\"c\\\"1\","
                                  "\"output\":\"a\\n\"}");
    buf_clear(&out);
    assert_int_equal(provider_responses.call_output(&out, &custom, "", 0, NULL), 0);
    assert_string_equal(
        out.data, "{\"type\":\"custom_tool_call_output\",\"call_id\":\"c2\",\"output\":\"\"}");
    buf_clear(&out);
    char large[300] = "";
    assert_true(provider_responses.call_output(&out, &custom, large, sizeof large, NULL) < 0);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_has_every_member),
        cmocka_unit_test(freeform_tools_are_offered_to_models_that_take_them),
        cmocka_unit_test(what_a_server_refuses_is_left_out),
        cmocka_unit_test(a_server_that_takes_functions_only_gets_them),
        cmocka_unit_test(an_answer_is_read_however_it_is_split),
        cmocka_unit_test(an_answer_that_is_cut_anywhere_is_broken),
        cmocka_unit_test(a_final_list_stands_in_for_items_that_were_not_sent),
        cmocka_unit_test(a_lost_item_is_found_in_the_final_list_or_missed),
        cmocka_unit_test(calls_that_lack_something_are_noticed),
        cmocka_unit_test(arguments_that_are_no_object_go_back_as_one),
        cmocka_unit_test(two_calls_with_one_id_are_refused),
        cmocka_unit_test(nothing_counts_behind_the_terminal_event),
        cmocka_unit_test(errors_in_the_stream_are_told_apart),
        cmocka_unit_test(an_event_that_is_called_an_error_is_one),
        cmocka_unit_test(a_plain_response_is_an_answer),
        cmocka_unit_test(an_answer_at_the_output_limit_keeps_only_its_usage),
        cmocka_unit_test(an_endless_event_is_an_end),
        cmocka_unit_test(outputs_answer_in_the_shape_of_their_call),
    };
    return cmocka_run_group_tests_name("agent_responses", tests, NULL, NULL);
}
