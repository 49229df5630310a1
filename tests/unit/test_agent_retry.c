/* Failures of requests to the model: what kind they are, and whether and when they are tried
 * again. */
#include "test.h"

#include <time.h>

#include "agent/retry.h"
#include "base/clock.h"

static struct failure from_http(int status, const char *body)
{
    struct failure failure;
    failure_from_http(&failure, status, -1, body, strlen(body));
    return failure;
}

static void http_answers_are_told_apart(void **state)
{
    static const struct {
        int status;
        const char *body;
        enum failure_kind kind;
    } cases[] = {
        {400, "{\"error\":{\"message\":\"Unsupported value\",\"param\":\"reasoning.summary\"}}",
         FAILURE_REJECTED},
        {400, "{\"error\":{\"code\":\"context_length_exceeded\",\"message\":\"x\"}}",
         FAILURE_CONTEXT},
        {400, "{\"error\":{\"message\":\"This model's maximum context length is 8192 tokens\"}}",
         FAILURE_CONTEXT},
        {400, "{\"error\":{\"code\":400,\"type\":\"exceed_context_size_error\",\"message\":\"x\"}}",
         FAILURE_CONTEXT},
        {400,
         "{\"object\":\"error\",\"message\":\"This model's maximum context length is 8192\","
         "\"type\":\"BadRequestError\",\"param\":null,\"code\":400}",
         FAILURE_CONTEXT},
        {400, "{\"error\":\"tokens to keep is greater than the context length\"}", FAILURE_CONTEXT},
        {400, "{\"error\":{\"message\":\"prompt is too long: 9 tokens > 8\"}}", FAILURE_CONTEXT},
        {400, "{\"error\":{\"code\":\"replay_ended\",\"message\":\"x\"}}", FAILURE_REJECTED},
        {401, "", FAILURE_KEY},
        {401, "{\"error\":{\"code\":\"wrong_key\"}}", FAILURE_KEY},
        {403, "<html>", FAILURE_KEY},
        {403, "{\"error\":{\"code\":\"budget_exceeded\",\"message\":\"x\"}}", FAILURE_BUDGET},
        {403, "{\"error\":{\"code\":\"wrong_model\",\"message\":\"x\"}}", FAILURE_REJECTED},
        {404, "{\"error\":{\"code\":\"model_not_found\"}}", FAILURE_REJECTED},
        {404, "", FAILURE_REJECTED},
        {301, "", FAILURE_REJECTED},
        {408, "", FAILURE_SERVER},
        {409, "", FAILURE_SERVER},
        {413, "{\"error\":{\"code\":\"too_large\"}}", FAILURE_CONTEXT},
        {422, "{\"detail\":\"bad\"}", FAILURE_REJECTED},
        {429, "", FAILURE_RATE_LIMIT},
        {429, "{\"error\":{\"type\":\"insufficient_quota\",\"message\":\"x\"}}", FAILURE_QUOTA},
        {429, "{\"error\":{\"message\":\"You exceeded your current quota, please check\"}}",
         FAILURE_QUOTA},
        {500, "not json", FAILURE_SERVER},
        {500, "{\"error\":{\"type\":\"server_error\",\"message\":\"x\"}}", FAILURE_SERVER},
        {502, "{\"error\":{\"code\":\"provider_unreachable\"}}", FAILURE_UNREACHABLE},
        {503, "{\"error\":{\"type\":\"server_error\",\"message\":\"x\"}}", FAILURE_OVERLOADED},
        {504, "{\"error\":{\"code\":\"provider_timeout\"}}", FAILURE_SERVER},
        {529, "", FAILURE_OVERLOADED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct failure failure = from_http(cases[i].status, cases[i].body);
        assert_int_equal(failure.kind, cases[i].kind);
    }
    assert_string_equal(from_http(400, cases[0].body).param, "reasoning.summary");
    assert_string_equal(from_http(400, cases[0].body).message,
                        "the model server answers 400: Unsupported value");
    static const char forbidden[] =
        "{\"detail\":[{\"loc\":[\"body\",\"messages\",2,\"reasoning\"],\"msg\":\"Extra inputs are not "
        "permitted\"}]}";
    assert_string_equal(from_http(422, forbidden).param, "messages.reasoning");
}

/* Of OpenAI, vLLM, FastAPI, Mistral, Google, Ollama, Azure, Go's http.NotFound and a proxy. */
static void what_a_server_says_is_passed_on(void **state)
{
    static const struct {
        const char *body, *said;
    } cases[] = {
        {"{\"error\":{\"code\":\"c\",\"message\":\"no\"}}", " c: no"},
        {"{\"object\":\"error\",\"message\":\"no\",\"code\":404}", ": no"},
        {"{\"detail\":\"no\"}", ": no"},
        {"{\"detail\":[{\"loc\":[\"body\",\"input\"],\"msg\":\"Field required\"}]}",
         ": Field required"},
        {"{\"object\":\"error\",\"message\":{\"detail\":[{\"loc\":[\"body\",\"x\"],\"msg\":\"no\"}]}}",
         ": no"},
        {"[{\"error\":{\"code\":400,\"message\":\"no\",\"status\":\"INVALID_ARGUMENT\"}}]", ": no"},
        {"{\"error\":\"no\"}", ": no"},
        {"{\"statusCode\":404,\"message\":\"no\"}", ": no"},
        {"404 page not found\nmore\n", ": 404 page not found"},
        {"<html><h1>no</h1></html>", ""},
        {" \n", ""},
        {"{\"error\":{}}", ""},
        {"[]", ""},
        {"{", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct failure failure = from_http(404, cases[i].body);
        char expected[128];
        snprintf(expected, sizeof expected, "the model server answers 404%s", cases[i].said);
        assert_string_equal(failure.message, expected);
    }
}

static void outside_text_is_one_bounded_valid_line(void **state)
{
    char body[4096], text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    snprintf(body, sizeof body, "{\"error\":{\"message\":\"a\\nb\\u001b[31m%s\"}}", text);
    struct failure failure = from_http(500, body);
    assert_true(strlen(failure.message) < sizeof failure.message - 90);
    assert_null(strpbrk(failure.message, "\n\x1b"));
    assert_non_null(strstr(failure.message, "a b [31mxxx"));
}

static void waits_are_read_from_text(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"Rate limit reached. Please try again in 20s. Visit", 20000},
        {"try again in 1.5s", 1500},
        {"Try Again In 350ms", 350},
        {"please try again in 1m2.5s", 62500},
        {"try again in 2h0m1s.", 7201000},
        {"retry after 20 seconds", 20000},
        {"retry in 3 minutes", 180000},
        {"try again in 1 millisecond", 1},
        {"try again in 10 parsecs", -1},
        {"try again in", -1},
        {"try again in a while", -1},
        {"try again in 99999999999999999999s", -1},
        {"try again in 0x1p999s", -1},
        {"", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(failure_wait_in_text(cases[i].text), cases[i].ms);
}

static int64_t wait_in(const char *name, const char *value)
{
    struct http_head head = {.headers = {{name, value}}, .headers_count = 1};
    return failure_wait_in_head(&head);
}

static void waits_are_read_from_heads(void **state)
{
    assert_int_equal(wait_in("Retry-After", "7"), 7000);
    assert_int_equal(wait_in("retry-after", "0"), 0);
    assert_int_equal(wait_in("Retry-After-Ms", "250"), 250);
    assert_int_equal(wait_in("Retry-After", "-1"), -1);
    assert_int_equal(wait_in("Retry-After", "1.5"), -1);
    assert_int_equal(wait_in("Retry-After", "soon"), -1);
    assert_int_equal(wait_in("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"), 0);
    assert_int_equal(wait_in("Date", "7"), -1);
    char date[64];
    time_t later = (time_t)(clock_real_ms() / 1000) + 100;
    struct tm tm;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&later, &tm));
    assert_in_range(wait_in("Retry-After", date), 98000, 100000);
}

/* The policy, row by row: how often a failure that comes at once is tried again, and the exit. */
static void each_kind_has_its_policy(void **state)
{
    static const struct {
        enum failure_kind kind;
        unsigned tries; /* 0: never again; 1000: until the time is up */
        enum agent_exit exit;
    } rows[FAILURE_COUNT] = {
        {FAILURE_TRANSPORT, 1000, AGENT_EXIT_MODEL_FAILED},
        {FAILURE_UNREACHABLE, 1000, AGENT_EXIT_MODEL_FAILED},
        {FAILURE_SERVER, 1000, AGENT_EXIT_MODEL_FAILED},
        {FAILURE_BROKEN_STREAM, 8, AGENT_EXIT_MODEL_FAILED},
        {FAILURE_RATE_LIMIT, 1000, AGENT_EXIT_MODEL_BUSY},
        {FAILURE_OVERLOADED, 1000, AGENT_EXIT_MODEL_BUSY},
        {FAILURE_QUOTA, 0, AGENT_EXIT_MODEL_BUSY},
        {FAILURE_KEY, 0, AGENT_EXIT_KEY_REFUSED},
        {FAILURE_BUDGET, 0, AGENT_EXIT_BUDGET},
        {FAILURE_CONTEXT, 0, AGENT_EXIT_CONTEXT_FULL},
        {FAILURE_FILTERED, 1, AGENT_EXIT_MODEL_FAILED},
        {FAILURE_REJECTED, 0, AGENT_EXIT_MODEL_FAILED},
    };
    for (size_t i = 0; i < FAILURE_COUNT; i++) {
        struct retry retry = {.heard = true};
        struct failure failure;
        unsigned tries = 0;
        for (;;) {
            failure_set(&failure, rows[i].kind, "trouble");
            if (tries == 1000 || retry_next(&retry, &retry_defaults, &failure, 5, 512) < 0)
                break;
            tries++;
        }
        assert_int_equal(tries, rows[i].tries);
        assert_int_equal(retry_exit(rows[i].kind), rows[i].exit);
        if (rows[i].tries == 8)
            assert_string_equal(failure.message, "trouble (gave up after 9 tries)");
        if (rows[i].tries == 0)
            assert_string_equal(failure.message, "trouble");
    }
}

static int64_t next(struct retry *retry, enum failure_kind kind, int64_t wait_ms, int64_t now_ms,
                    uint32_t random)
{
    struct failure failure;
    failure_set(&failure, kind, "trouble");
    failure.wait_ms = wait_ms;
    return retry_next(retry, &retry_defaults, &failure, now_ms, random);
}

static void waits_double_and_are_spread(void **state)
{
    struct retry retry = {0};
    int64_t expected = 500;
    for (unsigned i = 0; i < 12; i++) {
        assert_int_equal(next(&retry, FAILURE_SERVER, -1, 0, 512), expected);
        expected = expected * 2 > 60000 ? 60000 : expected * 2;
    }
    assert_int_equal(next(&(struct retry){0}, FAILURE_SERVER, -1, 0, 0), 375);
    assert_in_range(next(&(struct retry){0}, FAILURE_SERVER, -1, 0, 1023), 620, 625);
    assert_int_equal(next(&(struct retry){0}, FAILURE_OVERLOADED, -1, 0, 512), 2000);
}

static void the_server_decides_how_long_within_bounds(void **state)
{
    assert_int_equal(next(&(struct retry){0}, FAILURE_RATE_LIMIT, 20000, 0, 0), 20000);
    assert_in_range(next(&(struct retry){0}, FAILURE_RATE_LIMIT, 20000, 0, 1023), 20000, 22000);
    assert_int_equal(next(&(struct retry){0}, FAILURE_RATE_LIMIT, 0, 0, 512), 0);

    struct retry retry = {0};
    struct failure failure;
    failure_set(&failure, FAILURE_RATE_LIMIT, "busy");
    failure.wait_ms = retry_defaults.give_up_ms + 1;
    assert_int_equal(retry_next(&retry, &retry_defaults, &failure, 0, 0), -1);
    assert_string_equal(failure.message,
                        "busy (gave up after 1 try; the next would be in 1800.0 s)");
}

static void waiting_is_bounded_from_the_first_failure_on(void **state)
{
    struct retry retry = {0};
    int64_t now = 1000000, wait;
    unsigned tries = 0;
    while ((wait = next(&retry, FAILURE_TRANSPORT, -1, now, 512)) >= 0) {
        now += wait;
        tries++;
    }
    assert_true(now - 1000000 <= retry_defaults.give_up_ms);
    assert_true(now - 1000000 > retry_defaults.give_up_ms - retry_defaults.max_ms);
    assert_in_range(tries, 30, 45);
}

/* A provider that is not there is told in seconds; one that has answered before is waited for. */
static void a_stranger_is_given_up_soon(void **state)
{
    struct retry retry = {0}, heard = {.heard = true};
    int64_t now = 1000000, wait;
    unsigned tries = 0;
    while ((wait = next(&retry, FAILURE_UNREACHABLE, -1, now, 512)) >= 0) {
        now += wait;
        tries++;
    }
    assert_in_range(now - 1000000, 10000, retry_defaults.first_contact_ms);
    assert_int_equal(tries, 5);
    next(&heard, FAILURE_UNREACHABLE, -1, 0, 512);
    assert_true(next(&heard, FAILURE_UNREACHABLE, -1, retry_defaults.first_contact_ms, 512) >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(http_answers_are_told_apart),
        cmocka_unit_test(what_a_server_says_is_passed_on),
        cmocka_unit_test(outside_text_is_one_bounded_valid_line),
        cmocka_unit_test(waits_are_read_from_text),
        cmocka_unit_test(waits_are_read_from_heads),
        cmocka_unit_test(each_kind_has_its_policy),
        cmocka_unit_test(waits_double_and_are_spread),
        cmocka_unit_test(the_server_decides_how_long_within_bounds),
        cmocka_unit_test(waiting_is_bounded_from_the_first_failure_on),
        cmocka_unit_test(a_stranger_is_given_up_soon),
    };
    return cmocka_run_group_tests_name("agent_retry", tests, NULL, NULL);
}
