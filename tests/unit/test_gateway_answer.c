#include "test.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "gateway/meter.h"
#include "gateway/provider_url.h"
#include "gateway/redact.h"
#include "gateway/upstream_head.h"

/* ---- metering */

static struct meter meter_as(enum wire_kind wire, const char *text, size_t step)
{
    struct meter meter;
    meter_init(&meter, wire);
    size_t len = strlen(text);
    for (size_t at = 0; at < len; at += step)
        meter_feed(&meter, text + at, len - at < step ? len - at : step);
    meter_end(&meter);
    struct meter copy = meter;
    meter_release(&meter);
    return copy;
}

static struct meter meter_of(const char *text, size_t step)
{
    return meter_as(WIRE_RESPONSES, text, step);
}

#define USAGE                                                                                      \
    "\"usage\":{\"input_tokens\":100,\"input_tokens_details\":{\"cached_tokens\":40},"             \
    "\"output_tokens\":20,\"output_tokens_details\":{\"reasoning_tokens\":5},\"total_tokens\":"    \
    "120}"

static void expect_usage(const struct meter *meter)
{
    assert_true(meter->known);
    assert_int_equal(meter->usage.input_tokens, 100);
    assert_int_equal(meter->usage.cached_input_tokens, 40);
    assert_int_equal(meter->usage.output_tokens, 20);
    assert_int_equal(meter->usage.reasoning_output_tokens, 5);
}

static void usage_is_found_at_any_split(void **state)
{
    static const char *const streams[] = {
        "event: response.created\ndata: "
        "{\"type\":\"response.created\",\"response\":{\"usage\":null}}\n\n"
        "data: {\"type\":\"response.output_text.delta\",\"delta\":\"usage\"}\n\n"
        "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{" USAGE
        "}}\n\n",
        /* CRLF, the type last, an event over several lines, garbage in between, more after it */
        ": hello\r\n\r\ndata: not json {\r\n\r\ndata: [DONE]\r\n\r\n"
        "data: {\"response\":{\"x\":[{\"usage\":{\"input_tokens\":9}}],\r\ndata: " USAGE
        "},\r\ndata: \"type\":\"response.incomplete\"}\r\n\r\ndata: "
        "{\"type\":\"response.completed\","
        "\"response\":{\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\r\n\r\n",
        /* without the empty line at the end, or any line end */
        "data:{\"type\":\"response.failed\",\"response\":{" USAGE "}}\n",
        "data:{\"type\":\"response.failed\",\"response\":{" USAGE "}}",
        /* the older name of response.completed; behind a byte order mark and empty lines */
        "\xef\xbb\xbf\n\ndata:{\"type\":\"response.done\",\"response\":{" USAGE "}}\n\n",
    };
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
        for (size_t step = 1; step < strlen(streams[i]); step++) {
            struct meter meter = meter_of(streams[i], step);
            expect_usage(&meter);
        }
    static const char body[] =
        "\r\n {\"object\":\"response\",\"output\":[{\"usage\":{\"input_tokens\":7}}]," USAGE "}";
    for (size_t step = 1; step < sizeof body; step++) {
        struct meter meter = meter_of(body, step);
        expect_usage(&meter);
    }
}

static void usage_elsewhere_does_not_count(void **state)
{
    static const char *const streams[] = {
        "",
        "data: {\"type\":\"response.completed\",\"response\":{\"usage\":null}}\n\n",
        "data: {\"type\":\"response.completed\"," USAGE "}\n\n",
        "data: {\"type\":\"response.in_progress\",\"response\":{" USAGE "}}\n\n",
        "data: {\"response\":{\"type\":\"response.completed\"," USAGE "}}\n\n",
        "data: {\"type\":\"response.completed\",\"response\":[{" USAGE "}]}\n\n",
        "data: "
        "{\"type\":\"response.completed\",\"response\":{\"usage\":[{\"input_tokens\":1}]}}\n\n",
        "data: "
        "{\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":\"1\"}}}\n\n",
        "data: "
        "{\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":-1}}}\n\n",
        "data: "
        "{\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":1e3}}}\n\n",
        "data: "
        "{\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":99999999999}}}"
        "\n\n",
        "data: {\"type\":\"response.completed\",\"response\":{" USAGE "}\n\n", /* cut */
        "event: response.completed\nid: {" USAGE "}\n\n",
    };
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
        for (size_t step = 1; step <= strlen(streams[i]) + 1; step++)
            if (meter_of(streams[i], step).known)
                fail_msg("step %zu: %s", step, streams[i]);
    assert_false(meter_of("{\"usage\":null}", 1).known);
    assert_false(meter_of("<html>", 1).known);
}

#define CHAT_USAGE                                                                                 \
    "\"usage\":{\"prompt_tokens\":100,\"prompt_tokens_details\":{\"cached_tokens\":40},"           \
    "\"completion_tokens\":20,\"completion_tokens_details\":{\"reasoning_tokens\":5}}"
#define MESSAGES_START                                                                             \
    "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":50,"               \
    "\"cache_creation_input_tokens\":10,\"cache_read_input_tokens\":40,\"output_tokens\":1}}}\n\n"

static void each_wire_tells_its_usage_in_its_own_way(void **state)
{
    static const struct {
        enum wire_kind wire;
        const char *text;
    } cases[] = {
        {WIRE_CHAT, "data: {\"choices\":[{\"delta\":{\"content\":\"usage\"}}],\"usage\":null}\n\n"
                    "data: {\"choices\":[]," CHAT_USAGE "}\n\ndata: [DONE]\n\n"},
        /* in every chunk: the last counts; without the end; behind the end nothing counts */
        {WIRE_CHAT, "data: {\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":7,"
                    "\"prompt_tokens_details\":{\"cached_tokens\":99}}}\r\n\r\n"
                    "data: {" CHAT_USAGE "}\r\n\r\n"},
        {WIRE_CHAT, "data: {" CHAT_USAGE "}\n\ndata: [DONE]\n\n"
                    "data: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n"},
        {WIRE_CHAT,
         "{\"choices\":[{\"message\":{\"usage\":{\"prompt_tokens\":7}}}]," CHAT_USAGE "}"},
        {WIRE_CHAT, "data: {\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":20,"
                    "\"prompt_cache_hit_tokens\":40,"
                    "\"completion_tokens_details\":{\"reasoning_tokens\":5}}}\n\ndata: [DONE]\n\n"},
        {WIRE_MESSAGES, MESSAGES_START
         "event: ping\ndata: {\"type\":\"ping\",\"usage\":{\"output_tokens\":9}}\n\n"
         "data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":20,\"input_tokens\":null,"
         "\"output_tokens_details\":{\"thinking_tokens\":5}}}\n\n"
         "data: {\"type\":\"message_stop\"}\n\n"},
        /* all of it in the end (vLLM, llama.cpp) */
        {WIRE_MESSAGES,
         "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":0,"
         "\"output_tokens\":0}}}\n\n"
         "data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":20,\"input_tokens\":60,"
         "\"cache_read_input_tokens\":40,\"output_tokens_details\":{\"thinking_tokens\":5}}}\n\n"
         "data: {\"type\":\"message_stop\"}\n\n"},
        {WIRE_MESSAGES, "{\"type\":\"message\",\"usage\":{\"input_tokens\":60,"
                        "\"cache_read_input_tokens\":40,\"output_tokens\":20,"
                        "\"output_tokens_details\":{\"thinking_tokens\":5}}}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 1; step < strlen(cases[i].text); step++) {
            struct meter meter = meter_as(cases[i].wire, cases[i].text, step);
            expect_usage(&meter);
        }
}

static void what_was_told_before_a_cut_is_counted(void **state)
{
    struct meter meter = meter_as(
        WIRE_MESSAGES,
        MESSAGES_START "data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":7}}\n\n"
                       "data: {\"type\":\"mess",
        3);
    assert_true(meter.known);
    assert_int_equal(meter.usage.input_tokens, 100);
    assert_int_equal(meter.usage.output_tokens, 7);
    /* What the beginning tells is not what it cost. */
    assert_false(meter_as(WIRE_MESSAGES, MESSAGES_START "data: {\"type\":\"mess", 3).known);
    assert_false(meter_as(WIRE_CHAT, "data: {\"choices\":[]}\n\ndata: [DONE]\n\n", 1).known);
    assert_false(meter_as(WIRE_CHAT, "{\"usage\":{\"prompt_tokens\":7}", 1).known); /* cut */
    assert_false(meter_as(WIRE_MESSAGES, "data: {" USAGE "}\n\n", 1).known);        /* no type */
}

/* What comes in the last event may be as large as the conversation. */
static void a_large_last_event_is_read_in_fixed_memory(void **state)
{
    struct meter meter;
    meter_init(&meter, WIRE_RESPONSES);
    static const char begin[] =
        "data: {\"type\":\"response.completed\",\"response\":{\"instructions\":\"";
    meter_feed(&meter, begin, sizeof begin - 1);
    char text[65536];
    memset(text, 'x', sizeof text);
    for (int i = 0; i < 1024; i++)
        meter_feed(&meter, text, sizeof text);
    static const char end[] = "\"," USAGE "}}\n\n";
    meter_feed(&meter, end, sizeof end - 1);
    expect_usage(&meter);
    assert_int_equal(meter.sse.data.cap + meter.sse.value.cap + meter.sse.type.cap, 0);
    meter_release(&meter);
}

/* ---- the key */

static void redacted(const char *secret, const char *text, size_t step, struct buf *out)
{
    struct redact redact;
    redact_init(&redact, secret, NULL, 0);
    size_t len = strlen(text);
    for (size_t at = 0; at < len; at += step)
        redact_feed(&redact, text + at, len - at < step ? len - at : step, out);
    redact_end(&redact, out);
    redact_release(&redact);
}

static void a_secret_does_not_come_through(void **state)
{
    static const struct {
        const char *secret, *text, *wanted;
    } cases[] = {
        {"sk-abc", "key sk-abc is wrong", "key ****** is wrong"},
        {"sk-abc", "sk-abcsk-abcsk-ab", "************sk-ab"},
        {"sk-abc", "ssk-abc", "s******"},
        {"sk-abc", "sk-sk-abc", "sk-******"},
        {"aab", "aaaab", "aa***"},
        {"abab", "ababab", "****ab"},
        {"abaabc", "abaabaabc", "aba******"},
        {"x", "axbxx", "a*b**"},
        {"sk-abc", "nothing here", "nothing here"},
        {"sk-abc", "", ""},
        {"", "text", "text"},
        {NULL, "text", "text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 1; step < 20; step++) {
            AUTO_BUF struct buf out;
            buf_init(&out, 100);
            redacted(cases[i].secret, cases[i].text, step, &out);
            assert_string_equal(out.data, cases[i].wanted);
        }
}

static void several_secrets_do_not_come_through(void **state)
{
    static const char *const secrets[] = {"team-7", "7-token"};
    static const char text[] = "key sk-abc, team-7, 7-token; team-7-token sk-ab team- 7-to";
    for (size_t step = 1; step < sizeof text; step++) {
        struct redact redact;
        struct buf out;
        buf_init(&out, 1000);
        redact_init(&redact, "sk-abc", secrets, 2);
        for (size_t at = 0; at < sizeof text - 1; at += step)
            redact_feed(&redact, text + at,
                        sizeof text - 1 - at < step ? sizeof text - 1 - at : step, &out);
        redact_end(&redact, &out);
        assert_string_equal(out.data, "key ******, ******, *******; ******-token sk-ab team- 7-to");
        assert_true(redact_finds(&redact, "x 7-token"));
        assert_false(redact_finds(&redact, "7-toke"));
        redact_release(&redact);
        buf_release(&out);
    }
}

static void a_stream_is_not_held_back(void **state)
{
    struct redact redact;
    redact_init(&redact, "sk-abc", NULL, 0);
    AUTO_BUF struct buf out;
    buf_init(&out, 100);
    redact_feed(&redact, "data: {}\n\n", 10, &out);
    assert_int_equal(out.len, 10);
    assert_true(redact_finds(&redact, "Bearer sk-abc"));
    assert_false(redact_finds(&redact, "Bearer sk-ab"));
    redact_release(&redact);
}

/* ---- the answer's head */

static int feed_head(struct upstream_head *head, const char *const *lines)
{
    upstream_head_init(head);
    int status = 0;
    struct err err;
    for (; *lines && status == 0; lines++)
        status = upstream_head_line(head, *lines, strlen(*lines), &err);
    return status;
}

static void only_safe_headers_come_back(void **state)
{
    const char *lines[] = {"HTTP/1.1 100 Continue\r\n",
                           "X-Request-Id: interim\r\n",
                           "\r\n",
                           "HTTP/1.1 429 Slow down\r\n",
                           "content-TYPE:  application/json \r\n",
                           "Set-Cookie: a=b\r\n",
                           "Transfer-Encoding: chunked\r\n",
                           "Connection: x\r\n",
                           "Retry-After: 7\r\n",
                           "x-ratelimit-remaining-tokens: 0\n",
                           "Location: http://169.254.169.254/\r\n",
                           "X-Request-Id: a\x01"
                           "b\r\n",
                           "no colon\r\n",
                           "Content-Encoding: identity\r\n",
                           "\r\n",
                           NULL};
    struct upstream_head head;
    assert_int_equal(feed_head(&head, lines), 1);
    assert_int_equal(head.status, 429);
    assert_int_equal(head.headers_count, 3);
    assert_string_equal(head.headers[0].name, "content-TYPE");
    assert_string_equal(head.headers[0].value, "application/json");
    assert_string_equal(head.headers[1].value, "7");
    assert_string_equal(head.headers[2].name, "x-ratelimit-remaining-tokens");
    assert_int_equal(upstream_head_line(&head, "Retry-After: 9\r\n", 16, NULL), 1); /* a trailer */
    assert_int_equal(head.headers_count, 3);
    upstream_head_release(&head);
}

static void impossible_heads_are_refused(void **state)
{
    const char *bad[][3] = {{"HTTP/1.1 999 x\r\n", NULL},
                            {"HTTP/1.1 abc\r\n", NULL},
                            {"HTTP/1.1\r\n", NULL},
                            {"HTTP/1.1 200 OK\r\n", "Content-Encoding: gzip\r\n", NULL}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct upstream_head head;
        assert_int_equal(feed_head(&head, bad[i]), ERR_PROTOCOL);
        upstream_head_release(&head);
    }
    struct upstream_head head;
    upstream_head_init(&head);
    assert_int_equal(upstream_head_line(&head, "HTTP/1.1 200 OK\r\n", 17, NULL), 0);
    assert_int_equal(upstream_head_line(&head, "A: b\0c\r\n", 8, NULL), ERR_PROTOCOL);
    char line[1000];
    memset(line, 'x', sizeof line);
    line[998] = '\r';
    line[999] = '\n';
    int status = 0, lines = 0;
    for (; status == 0 && lines < 1000; lines++)
        status = upstream_head_line(&head, line, sizeof line, NULL);
    assert_int_equal(status, ERR_PROTOCOL);
    assert_true(lines < 300);
    upstream_head_release(&head);
}

/* ---- base_url */

static int parse_url(struct provider_url *url, const char *base_url, const char *wire,
                     struct err *err)
{
    const struct gateway_config config = {.base_url = (char *)base_url, .wire = wire_find(wire)};
    return provider_url_parse(url, &config, err);
}

static void a_base_url_is_taken_apart(void **state)
{
    static const struct {
        const char *url, *host, *port;
        bool literal;
    } good[] = {
        {"https://api.openai.com/v1", "api.openai.com", "443", false},
        {"http://127.0.0.1:8080/v1", "127.0.0.1", "8080", true},
        {"http://[::1]:8080", "[::1]", "8080", true},
        {"http://model", "model", "80", false},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct provider_url url;
        assert_int_equal(parse_url(&url, good[i].url, "responses", NULL), 0);
        assert_string_equal(url.host, good[i].host);
        assert_string_equal(url.port, good[i].port);
        assert_int_equal(url.is_literal, good[i].literal);
        AUTO_FREE char *wanted = str_format("%s/responses", good[i].url);
        assert_string_equal(url.target, wanted);
        provider_url_release(&url);
    }
    static const char *const bad[] = {"api.openai.com/v1",    "ftp://x/",
                                      "file:///etc/passwd",   "https://",
                                      "https://user@host/v1", "https://user:pw@host/v1",
                                      "http://host/?a=b",     "http://host/#f",
                                      "unix:///run/x",        "http://host:99999/"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct provider_url url;
        struct err err;
        if (parse_url(&url, bad[i], "responses", &err) != ERR_USAGE)
            fail_msg("accepted: %s", bad[i]);
        assert_non_null(strstr(err.message, bad[i]));
    }
}

static void every_wire_has_its_path(void **state)
{
    static const struct {
        const char *wire, *base_url, *target;
    } cases[] = {
        {"chat", "https://api.deepseek.com", "https://api.deepseek.com/chat/completions"},
        {"chat", "http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1/chat/completions"},
        {"messages", "https://api.anthropic.com", "https://api.anthropic.com/v1/messages"},
        {"messages", "https://api.anthropic.com/v1", "https://api.anthropic.com/v1/messages"},
        {"messages", "https://h/anthropic", "https://h/anthropic/v1/messages"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct provider_url url;
        assert_int_equal(parse_url(&url, cases[i].base_url, cases[i].wire, NULL), 0);
        assert_string_equal(url.target, cases[i].target);
        provider_url_release(&url);
    }
    assert_null(wire_find("replay"));
}

static void parameters_stand_behind_the_path(void **state)
{
    const struct gateway_config config = {
        .base_url = (char *)"https://x.openai.azure.com/openai/deployments/d",
        .wire = wire_find("chat"),
        .query = {{(char *)"api-version", (char *)"2024-10-21"},
                  {(char *)"q", (char *)"a b&c=\"#"}},
        .query_count = 2};
    struct provider_url url;
    assert_int_equal(provider_url_parse(&url, &config, NULL), 0);
    assert_string_equal(url.target, "https://x.openai.azure.com/openai/deployments/d/chat/"
                                    "completions?api-version=2024-10-21&q=a%20b%26c%3D%22%23");
    assert_string_equal(url.host, "x.openai.azure.com");
    provider_url_release(&url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage_is_found_at_any_split),
        cmocka_unit_test(usage_elsewhere_does_not_count),
        cmocka_unit_test(each_wire_tells_its_usage_in_its_own_way),
        cmocka_unit_test(what_was_told_before_a_cut_is_counted),
        cmocka_unit_test(a_large_last_event_is_read_in_fixed_memory),
        cmocka_unit_test(a_secret_does_not_come_through),
        cmocka_unit_test(several_secrets_do_not_come_through),
        cmocka_unit_test(a_stream_is_not_held_back),
        cmocka_unit_test(only_safe_headers_come_back),
        cmocka_unit_test(impossible_heads_are_refused),
        cmocka_unit_test(a_base_url_is_taken_apart),
        cmocka_unit_test(every_wire_has_its_path),
        cmocka_unit_test(parameters_stand_behind_the_path),
    };
    return cmocka_run_group_tests_name("gateway answer", tests, NULL, NULL);
}
