/* The Messages API: what a request says, and what is read from an answer, however it arrives. */
#include "wire.h"

#include "base/cleanup.h"

const struct provider *const wire = &provider_messages;

/* ---- requests */

static void a_request_has_every_member(void **state)
{
    json_t *json = request("claude-sonnet-4-6", "high", 0);
    assert_string_equal(string_at(json, "model"), "claude-sonnet-4-6");
    assert_int_equal(json_integer_value(json_object_get(json, "max_tokens")), 64000);
    assert_true(json_is_true(json_object_get(json, "stream")));
    const json_t *thinking = json_object_get(json, "thinking");
    assert_string_equal(string_at(thinking, "type"), "adaptive");
    assert_string_equal(string_at(thinking, "display"), "summarized");
    assert_string_equal(string_at(json_object_get(json, "output_config"), "effort"), "high");
    assert_string_equal(string_at(json_object_get(json, "cache_control"), "type"), "ephemeral");
    const json_t *system = json_array_get(json_object_get(json, "system"), 0);
    assert_string_equal(string_at(system, "text"), "Work.\n");
    assert_non_null(json_object_get(system, "cache_control"));
    const json_t *message = json_array_get(json_object_get(json, "messages"), 0);
    assert_string_equal(string_at(message, "role"), "user");
    const json_t *block = json_array_get(json_object_get(message, "content"), 0);
    assert_string_equal(string_at(block, "type"), "text");
    assert_string_equal(string_at(block, "text"), "hi\xef\xbf\xbd");
    const json_t *patch = json_array_get(json_object_get(json, "tools"), 1);
    assert_string_equal(string_at(patch, "name"), "apply_patch");
    assert_non_null(strstr(string_at(patch, "description"), "start: \"x\""));
    assert_string_equal(string_at(json_object_get(patch, "input_schema"), "type"), "object");
    json_decref(json);

    json_t *plain = request("claude-sonnet-4-6", NULL, 0);
    assert_null(json_object_get(plain, "thinking"));
    assert_null(json_object_get(plain, "output_config"));
    json_decref(plain);
}

static void thinking_is_as_the_model_takes_it(void **state)
{
    static const struct {
        const char *model, *effort, *type;
        int max_tokens, budget;
        const char *beta;
    } cases[] = {
        {"claude-opus-4-6", "low", "adaptive", 64000, 0, NULL},
        {"claude-opus-4.6", "xhigh", "adaptive", 64000, 0, NULL},
        {"claude-sonnet-5", "high", "adaptive", 64000, 0, NULL},
        {"anthropic/claude-fable-5-1", "high", "adaptive", 64000, 0, NULL},
        {"claude-mythos-preview", "high", "adaptive", 64000, 0, NULL},
        {"claude-sonnet-4-5-20250929", "high", "enabled", 32000, 25600,
         "interleaved-thinking-2025-05-14"},
        {"claude-opus-4-20250514", "low", "enabled", 32000, 6400,
         "interleaved-thinking-2025-05-14"},
        {"claude-haiku-4-5", "xhigh", "enabled", 32000, 30400, "interleaved-thinking-2025-05-14"},
        {"claude-3-7-sonnet-latest", "medium", "enabled", 32000, 16000, NULL},
        {"claude-3-5-haiku-20241022", "high", NULL, 32000, 0, NULL},
        {"deepseek-chat", "high", "enabled", 32000, 25600, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *json = request(cases[i].model, cases[i].effort, 0);
        const json_t *thinking = json_object_get(json, "thinking");
        assert_int_equal(json_integer_value(json_object_get(json, "max_tokens")),
                         cases[i].max_tokens);
        assert_int_equal(json_integer_value(json_object_get(thinking, "budget_tokens")),
                         cases[i].budget);
        if (cases[i].type)
            assert_string_equal(string_at(thinking, "type"), cases[i].type);
        else
            assert_null(thinking);
        json_decref(json);
        struct http_header headers[PROVIDER_HEADERS_MAX];
        const struct request_settings settings = {.model = cases[i].model, .effort = "high"};
        size_t count = wire->headers(&settings, 0, headers);
        assert_int_equal(count, cases[i].beta ? 2 : 1);
        assert_string_equal(headers[0].name, "anthropic-version");
        if (cases[i].beta)
            assert_string_equal(headers[1].value, cases[i].beta);
    }
}

/* MODEL's request once its server has refused, one after the other, what ERRORS say. */
static json_t *request_after(const char *model, const char *const *errors, size_t count)
{
    unsigned left_out = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned more = refused_again(model, left_out, errors[i]);
        if (!(more & ~left_out))
            fail_msg("not understood: %s", errors[i]);
        left_out |= more;
    }
    return request(model, "high", left_out);
}

static void what_a_server_refuses_is_said_in_another_way(void **state)
{
    static const char *const no_adaptive[] = {
        "{\"message\":\"adaptive thinking is not supported on this model\"}",
        "{\"message\":\"thinking: Input tag 'enabled' is not known\"}"};
    json_t *json = request_after("claude-opus-4-9", no_adaptive, 1);
    assert_string_equal(string_at(json_object_get(json, "thinking"), "type"), "enabled");
    assert_null(json_object_get(json, "output_config"));
    json_decref(json);
    json = request_after("claude-opus-4-9", no_adaptive, 2);
    assert_null(json_object_get(json, "thinking"));
    json_decref(json);

    static const char *const no_budget[] = {
        "{\"message\":\"\\\"thinking.type.enabled\\\" is not supported for this model. Use "
        "\\\"thinking.type.adaptive\\\" and \\\"output_config.effort\\\" to control thinking.\"}",
        "{\"message\":\"This model does not support the effort parameter.\"}"};
    json = request_after("some-model", no_budget, 2);
    assert_string_equal(string_at(json_object_get(json, "thinking"), "type"), "adaptive");
    assert_null(json_object_get(json, "output_config"));
    json_decref(json);

    static const char *const no_cache[] = {
        "{\"message\":\"cache_control: Extra inputs are not permitted\"}"};
    json = request_after("claude-opus-5", no_cache, 1);
    assert_null(json_object_get(json, "cache_control"));
    assert_null(
        json_object_get(json_array_get(json_object_get(json, "system"), 0), "cache_control"));
    json_decref(json);

    /* An effort that the model lacks is for the user to change; a block cannot be left out. */
    assert_int_equal(refused("claude-opus-4-6", "{\"message\":\"output_config.effort: Input should "
                                                "be 'low', 'medium', 'high' or 'max'\"}"),
                     0);
    assert_int_equal(refused("claude-opus-4-6", "{\"message\":\"messages.1.content.0: Invalid "
                                                "`signature` in `thinking` block\"}"),
                     0);
    assert_int_equal(refused("claude-opus-4-6", "{\"message\":\"no such model\"}"), 0);
}

static void the_limit_on_output_comes_down_to_what_is_taken(void **state)
{
    static const char *const fewer[] = {
        "{\"message\":\"max_tokens: 64000 > 32000, which is the maximum allowed number of output "
        "tokens\"}",
        "{\"message\":\"input length and `max_tokens` exceed context limit: 9 + 8 > 10\"}",
        "{\"message\":\"'max_tokens' is too large: 8192. This model's maximum context length is "
        "8192 tokens\"}"};
    static const int amounts[] = {64000, 32000, 8192, 4096};
    for (size_t i = 0; i < 4; i++) {
        json_t *json = request_after("claude-opus-5", fewer, i);
        assert_int_equal(json_integer_value(json_object_get(json, "max_tokens")), amounts[i]);
        json_decref(json);
    }
    json_t *json = request_after("other", fewer, 2);
    assert_int_equal(json_integer_value(json_object_get(json, "max_tokens")), 4096);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(json, "thinking"), "budget_tokens")),
        3200);
    json_decref(json);
    /* There is an end to it. */
    unsigned left_out = 0, more;
    int steps = 0;
    while ((more = refused_again("claude-opus-5", left_out, fewer[0])) & ~left_out) {
        left_out |= more;
        steps++;
    }
    assert_int_equal(steps, 3);
}

static void what_is_said_together_stands_together(void **state)
{
    const struct message messages[] = {{"a", 1}, {"b\"", 2}};
    struct buf out;
    buf_init(&out, 110);
    assert_int_equal(wire->user_messages(&out, messages, 2), 0);
    assert_string_equal(out.data, "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
                                  "\"a\"},{\"type\":\"text\",\"text\":\"b\\\"\"}]}");
    buf_clear(&out);
    const struct item call = {.call_id = (char *)"toolu_1"};
    assert_int_equal(wire->call_output(&out, &call, "x\n", 2, NULL), 0);
    assert_string_equal(out.data, "{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_1\","
                                  "\"content\":\"x\\n\"}");
    buf_clear(&out);
    assert_int_equal(wire->call_output(&out, &call, "", 0, NULL), 0);
    assert_string_equal(out.data, "{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_1\"}");
    char large[200] = "";
    assert_true(wire->call_output(&out, &call, large, sizeof large, NULL) < 0);
    assert_true(wire->user_messages(&out, &(struct message){large, sizeof large}, 1) < 0);
    buf_release(&out);
}

/* ---- answers */

static const char *const events[] = {
    "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":"
    "\"assistant\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":5,"
    "\"cache_creation_input_tokens\":20,\"cache_read_input_tokens\":300,\"output_tokens\":1}}}",
    "{\"type\":\"ping\"}",
    "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\","
    "\"thinking\":\"\",\"signature\":\"\"}}",
    "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\","
    "\"thinking\":\"h\"}}",
    "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\","
    "\"thinking\":\"m\\u00e9\"}}",
    "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\","
    "\"signature\":\"EqQ+/==\"}}",
    "{\"type\":\"content_block_stop\",\"index\":0}",
    "{\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":"
    "\"redacted_thinking\",\"data\":\"EmwK\"}}",
    "{\"type\":\"content_block_stop\",\"index\":1}",
    "{\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"text\",\"text\":"
    "\"\"}}",
    "{\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"text_delta\",\"text\":"
    "\"Let me look.\"}}",
    "{\"type\":\"content_block_stop\",\"index\":2}",
    "{\"type\":\"content_block_start\",\"index\":3,\"content_block\":{\"type\":\"tool_use\",\"id\":"
    "\"toolu_1\",\"name\":\"f\",\"input\":{}}}",
    "{\"type\":\"content_block_delta\",\"index\":3,\"delta\":{\"type\":\"input_json_delta\","
    "\"partial_json\":\"\"}}",
    "{\"type\":\"content_block_delta\",\"index\":3,\"delta\":{\"type\":\"input_json_delta\","
    "\"partial_json\":\"{\\\"a\\\": \"}}",
    "{\"type\":\"content_block_delta\",\"index\":3,\"delta\":{\"type\":\"input_json_delta\","
    "\"partial_json\":\"1.50}\"}}",
    "{\"type\":\"content_block_stop\",\"index\":3}",
    "{\"type\":\"content_block_start\",\"index\":4,\"content_block\":{\"type\":\"tool_use\",\"id\":"
    "\"toolu_2\",\"name\":\"g\",\"input\":{}}}",
    "{\"type\":\"content_block_stop\",\"index\":4}",
    "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\",\"stop_sequence\":null},"
    "\"usage\":{\"output_tokens\":77,\"output_tokens_details\":{\"thinking_tokens\":33}}}",
    "{\"type\":\"message_stop\"}",
};
enum { EVENTS = sizeof events / sizeof events[0] };

static struct stream usual_stream(void)
{
    struct stream stream = new_stream();
    for (size_t i = 0; i < EVENTS; i++) {
        json_t *event = json_loads(events[i], 0, NULL);
        add_named(&stream, string_at(event, "type"), events[i]);
        json_decref(event);
    }
    return stream;
}

static void assert_items(const struct answer *answer)
{
    const struct item *items = answer->response.items;
    assert_int_equal(answer->state, ANSWER_WHOLE);
    assert_int_equal(answer->response.count, 5);
    assert_int_equal(items[0].kind, ITEM_REASONING);
    assert_string_equal(items[0].text, "hm\xc3\xa9");
    assert_raw(&items[0], "{\"type\":\"thinking\",\"thinking\":\"hm\xc3\xa9\",\"signature\":"
                          "\"EqQ+/==\"}");
    assert_int_equal(items[1].kind, ITEM_OTHER);
    assert_raw(&items[1], "{\"type\":\"redacted_thinking\",\"data\":\"EmwK\"}");
    assert_int_equal(items[2].kind, ITEM_MESSAGE);
    assert_raw(&items[2], "{\"type\":\"text\",\"text\":\"Let me look.\"}");
    assert_int_equal(items[3].kind, ITEM_CALL);
    assert_string_equal(items[3].call_id, "toolu_1");
    assert_string_equal(items[3].name, "f");
    assert_string_equal(items[3].arguments, "{\"a\": 1.50}");
    assert_raw(&items[3], "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":"
                          "{\"a\": 1.50}}");
    assert_string_equal(items[4].call_id, "toolu_2");
    assert_string_equal(items[4].arguments, "{}");
    assert_false(answer->response.paused);
}

static void assert_usual(const struct answer *answer)
{
    assert_items(answer);
    assert_usage(answer, 325, 300, 77, 33);
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
    cut_everywhere(&stream, stream.text.len - 1); /* a line ends with its CR already */
    buf_release(&stream.text);
}

static void what_is_missing_is_noticed(void **state)
{
    static const char *const required[] = {
        "0.type",
        "0.message",
        "1.type",
        "2.type",
        "2.index",
        "2.content_block",
        "2.content_block.type",
        "3.type",
        "3.index",
        "3.delta",
        "3.delta.type",
        "3.delta.thinking",
        "5.type",
        "5.index",
        "5.delta",
        "5.delta.type",
        "5.delta.signature",
        "6.type",
        "6.index",
        "7.content_block",
        "7.content_block.type",
        "7.content_block.data",
        "9.content_block.type",
        "10.delta",
        "10.delta.type",
        "10.delta.text",
        "12.content_block.type",
        "12.content_block.id",
        "12.content_block.name",
        "14.delta.type",
        "14.delta.partial_json",
        "17.content_block.input",
        "18.index",
        "18.type",
        "19.type",
        "19.delta",
        "19.delta.stop_reason",
        "20.type",
    };
    remove_every_member(events, EVENTS, "", required, sizeof required / sizeof required[0]);
}

static void events_that_are_missing_are_noticed(void **state)
{
    static const bool may_be_missing[EVENTS] = {
        /* ping, deltas */ [1] = true,
        [3] = true,
        [4] = true,
        [5] = true,
        [10] = true,
        [13] = true,
        [14] = true,
        [15] = true,
    };
    for (size_t missing = 0; missing < EVENTS; missing++) {
        struct stream stream = new_stream();
        for (size_t i = 0; i < EVENTS; i++)
            if (i != missing)
                add_event(&stream, events[i]);
        struct answer *answer = read_and_release(&stream);
        if (!may_be_missing[missing] && answer->state != ANSWER_FAILED)
            fail_msg("not missed: %s", events[missing]);
        wire->answer_free(answer);
    }
}

/* One text block, and one call if WITH_CALL, stopped for REASON. */
static struct answer *read_stop(const char *reason, bool with_call)
{
    struct stream stream = new_stream();
    char end[200];
    snprintf(end, sizeof end,
             "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"%s\"},"
             "\"usage\":{\"output_tokens\":9}}",
             reason);
    add_event(&stream, events[0]);
    for (size_t i = 9; i < (with_call ? 17 : 12); i++)
        add_event(&stream, events[i]);
    add_event(&stream, end);
    add_event(&stream, events[EVENTS - 1]);
    return read_and_release(&stream);
}

static void stops_are_told_apart(void **state)
{
    static const struct {
        const char *reason;
        bool with_call;
        enum answer_state state;
        enum failure_kind kind;
    } cases[] = {
        {"end_turn", false, ANSWER_WHOLE, 0},
        {"stop_sequence", false, ANSWER_WHOLE, 0},
        {"end_turn", true, ANSWER_WHOLE, 0},
        {"tool_use", true, ANSWER_WHOLE, 0},
        {"pause_turn", false, ANSWER_WHOLE, 0},
        {"max_tokens", true, ANSWER_CUT_SHORT, 0},
        {"tool_use", false, ANSWER_FAILED, FAILURE_BROKEN_STREAM},
        {"refusal", false, ANSWER_FAILED, FAILURE_FILTERED},
        {"model_context_window_exceeded", true, ANSWER_FAILED, FAILURE_CONTEXT},
        {"of_the_future", false, ANSWER_FAILED, FAILURE_BROKEN_STREAM},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct answer *answer = read_stop(cases[i].reason, cases[i].with_call);
        assert_int_equal(answer->state, cases[i].state);
        assert_int_equal(answer->response.paused, !strcmp(cases[i].reason, "pause_turn"));
        if (answer->state == ANSWER_FAILED)
            assert_int_equal(answer->failure.kind, cases[i].kind);
        if (answer->state == ANSWER_CUT_SHORT)
            assert_int_equal(answer->response.count, 0);
        assert_usage(answer, 325, 300, 9, 0);
        wire->answer_free(answer);
    }
}

/* A stream of one block, between BEGIN and its stop. */
static struct answer *read_block(const char *begin, const char *const *deltas, size_t count)
{
    struct stream stream = new_stream();
    char text[1000];
    add_event(&stream, events[0]);
    snprintf(text, sizeof text,
             "{\"type\":\"content_block_start\",\"index\":2,\"content_block\":%s}", begin);
    add_event(&stream, text);
    for (size_t i = 0; i < count; i++) {
        snprintf(text, sizeof text, "{\"type\":\"content_block_delta\",\"index\":2,\"delta\":%s}",
                 deltas[i]);
        add_event(&stream, text);
    }
    add_event(&stream, events[11]);
    add_event(&stream, "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}");
    add_event(&stream, events[EVENTS - 1]);
    return read_and_release(&stream);
}

static void an_input_that_is_no_object_goes_back_within_one(void **state)
{
    static const char *const deltas[] = {
        "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"cmd\\\": \\\"ec\"}"};
    struct answer *answer =
        read_block("{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}", deltas, 1);
    assert_int_equal(answer->state, ANSWER_WHOLE);
    const struct item *call = &answer->response.items[0];
    assert_string_equal(call->arguments, "{\"cmd\": \"ec");
    assert_raw(call, "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":"
                     "{\"invalid_json\":\"{\\\"cmd\\\": \\\"ec\"}}");
    wire->answer_free(answer);
    /* From servers that give it whole. */
    answer = read_block("{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{\"a\":1}}",
                        NULL, 0);
    assert_string_equal(answer->response.items[0].arguments, "{\"a\":1}");
    wire->answer_free(answer);
}

static void blocks_of_white_space_are_left_out(void **state)
{
    static const char *const deltas[] = {"{\"type\":\"text_delta\",\"text\":\"\\n\\n\"}"};
    struct answer *answer = read_block("{\"type\":\"text\",\"text\":\"\"}", deltas, 1);
    assert_int_equal(answer->state, ANSWER_WHOLE);
    assert_int_equal(answer->response.count, 0);
    wire->answer_free(answer);
}

static void unknown_blocks_and_deltas_do_no_harm(void **state)
{
    static const char *const deltas[] = {
        "{\"type\":\"of_the_future\",\"x\":1}",
        "{\"type\":\"citations_delta\",\"citation\":{\"url\":\"u\"}}",
        "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"query\\\":\\\"q\\\"}\"}"};
    struct answer *answer = read_block(
        "{\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web_search\"}", deltas, 3);
    assert_int_equal(answer->state, ANSWER_WHOLE);
    assert_int_equal(answer->response.items[0].kind, ITEM_OTHER);
    assert_raw(&answer->response.items[0],
               "{\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web_search\",\"citations\":"
               "[{\"url\":\"u\"}],\"input\":{\"query\":\"q\"}}");
    wire->answer_free(answer);
}

static void errors_in_the_stream_are_told_apart(void **state)
{
    static const struct {
        const char *error;
        enum failure_kind kind;
    } cases[] = {
        {"{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}", FAILURE_OVERLOADED},
        {"{\"type\":\"api_error\",\"message\":\"Internal server error\"}", FAILURE_SERVER},
        {"{\"type\":\"rate_limit_error\",\"message\":\"x\"}", FAILURE_RATE_LIMIT},
        {"{\"type\":\"authentication_error\",\"message\":\"x\"}", FAILURE_KEY},
        {"{\"type\":\"billing_error\",\"message\":\"x\"}", FAILURE_QUOTA},
        {"{\"type\":\"invalid_request_error\",\"message\":\"x\"}", FAILURE_REJECTED},
        {"{\"type\":\"invalid_request_error\",\"message\":\"prompt is too long: 2 > 1\"}",
         FAILURE_CONTEXT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stream stream = new_stream();
        char text[300];
        snprintf(text, sizeof text, "{\"type\":\"error\",\"error\":%s}", cases[i].error);
        add_event(&stream, events[0]);
        add_named(&stream, "error", text);
        struct answer *answer = read_and_release(&stream);
        assert_int_equal(answer->state, ANSWER_FAILED);
        assert_int_equal(answer->failure.kind, cases[i].kind);
        wire->answer_free(answer);
    }
}

/* {"type":"error","error":{…}} with a status, as Anthropic answers it. */
static void errors_before_the_stream_are_told_apart(void **state)
{
    static const struct {
        int status;
        const char *type, *message;
        enum failure_kind kind;
    } cases[] = {
        {400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum",
         FAILURE_CONTEXT},
        {400, "invalid_request_error", "Your credit balance is too low to access the API",
         FAILURE_QUOTA},
        {400, "invalid_request_error", "max_tokens: must be less", FAILURE_REJECTED},
        {401, "authentication_error", "invalid x-api-key", FAILURE_KEY},
        {402, "billing_error", "x", FAILURE_QUOTA},
        {403, "permission_error", "x", FAILURE_KEY},
        {404, "not_found_error", "model: claude-9", FAILURE_REJECTED},
        {413, "request_too_large", "x", FAILURE_CONTEXT},
        {429, "rate_limit_error", "x", FAILURE_RATE_LIMIT},
        {500, "api_error", "x", FAILURE_SERVER},
        {504, "timeout_error", "x", FAILURE_SERVER},
        {529, "overloaded_error", "Overloaded", FAILURE_OVERLOADED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[300];
        snprintf(body, sizeof body,
                 "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"%s\"},"
                 "\"request_id\":\"req_1\"}",
                 cases[i].type, cases[i].message);
        struct failure failure;
        failure_from_http(&failure, cases[i].status, -1, body, strlen(body));
        assert_int_equal(failure.kind, cases[i].kind);
        assert_non_null(strstr(failure.message, cases[i].message));
    }
}

static void a_message_in_one_piece_is_an_answer(void **state)
{
    static const char text[] =
        "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":["
        "{\"type\":\"thinking\",\"thinking\":\"hm\xc3\xa9\",\"signature\":\"EqQ+/==\"},"
        "{\"type\":\"redacted_thinking\",\"data\":\"EmwK\"},"
        "{\"type\":\"text\",\"text\":\"Let me look.\"},"
        "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{\"a\": 1.50}},"
        "{\"type\":\"tool_use\",\"id\":\"toolu_2\",\"name\":\"g\",\"input\":{}}],"
        "\"stop_reason\":\"tool_use\",\"usage\":{\"input_tokens\":25,\"output_tokens\":7}}";
    struct stream stream = new_stream();
    buf_append_str(&stream.text, text);
    read_at_every_split(&stream, assert_items);
    cut_everywhere(&stream, stream.text.len);
    buf_release(&stream.text);
    static const char *const bad[] = {
        "{}",
        "{\"content\":[]}",
        "{\"content\":7,\"stop_reason\":\"end_turn\"}",
        "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}",
        "{\"content\":[{\"type\":\"text\"}],\"stop_reason\":\"end_turn\"}",
        "{\"content\":[{\"text\":\"a\"}],\"stop_reason\":\"end_turn\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct answer *answer = read_text(bad[i]);
        assert_int_equal(answer->state, ANSWER_FAILED);
        wire->answer_free(answer);
    }
}

static void two_calls_with_one_id_are_refused(void **state)
{
    struct stream stream = new_stream();
    add_event(&stream, events[0]);
    for (size_t i = 17; i < 19; i++)
        add_event(&stream, events[i]);
    add_event(&stream, "{\"type\":\"content_block_start\",\"index\":5,\"content_block\":{\"type\":"
                       "\"tool_use\",\"id\":\"toolu_2\",\"name\":\"g\",\"input\":{}}}");
    add_event(&stream, "{\"type\":\"content_block_stop\",\"index\":5}");
    add_event(&stream, events[EVENTS - 2]);
    add_event(&stream, events[EVENTS - 1]);
    struct answer *answer = read_and_release(&stream);
    assert_int_equal(answer->state, ANSWER_FAILED);
    wire->answer_free(answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_has_every_member),
        cmocka_unit_test(thinking_is_as_the_model_takes_it),
        cmocka_unit_test(what_a_server_refuses_is_said_in_another_way),
        cmocka_unit_test(the_limit_on_output_comes_down_to_what_is_taken),
        cmocka_unit_test(what_is_said_together_stands_together),
        cmocka_unit_test(an_answer_is_read_however_it_is_split),
        cmocka_unit_test(an_answer_that_is_cut_anywhere_is_broken),
        cmocka_unit_test(what_is_missing_is_noticed),
        cmocka_unit_test(events_that_are_missing_are_noticed),
        cmocka_unit_test(stops_are_told_apart),
        cmocka_unit_test(an_input_that_is_no_object_goes_back_within_one),
        cmocka_unit_test(blocks_of_white_space_are_left_out),
        cmocka_unit_test(unknown_blocks_and_deltas_do_no_harm),
        cmocka_unit_test(errors_in_the_stream_are_told_apart),
        cmocka_unit_test(errors_before_the_stream_are_told_apart),
        cmocka_unit_test(a_message_in_one_piece_is_an_answer),
        cmocka_unit_test(two_calls_with_one_id_are_refused),
    };
    return cmocka_run_group_tests_name("agent_messages", tests, NULL, NULL);
}
