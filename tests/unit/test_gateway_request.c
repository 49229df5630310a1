#include "test.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "gateway/json_scan.h"
#include "gateway/request.h"

static int ignore(void *arg, const struct json_scan *scan, enum json_token token)
{
    return 0;
}

static int scan_in_pieces(const char *text, size_t len, size_t step)
{
    struct json_scan scan;
    json_scan_init(&scan);
    int status = 0;
    for (size_t at = 0; at < len && status == 0; at += step)
        status =
            json_scan_feed(&scan, text + at, len - at < step ? len - at : step, ignore, NULL, NULL);
    return status < 0 ? status : json_scan_end(&scan, ignore, NULL, NULL);
}

static void check_all_steps(const char *text, size_t len, int wanted)
{
    for (size_t step = 1; step <= len; step++)
        if (scan_in_pieces(text, len, step) != wanted)
            fail_msg("step %zu: %s", step, text);
}

static void json_is_read_at_any_split(void **state)
{
    static const char *const good[] = {
        "{}",
        "[]",
        " [ ] ",
        "0",
        "-0",
        "1.5e+10",
        "-12.25E-3",
        "true",
        "false",
        "null",
        "\"\"",
        "\"\\u00e9\\n\\\"\\\\\\/\"",
        "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xed\x9f\xbf\xef\xbf\xbf\"",
        "{\"a\":[1,2,{\"b\":null}],\"c\":{\"d\":[[],{}]}}",
        "\t{\r\n\"a\" : 1 , \"b\":\"x\"}\n",
        "\"\x7f\"",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        check_all_steps(good[i], strlen(good[i]), 0);
}

static void what_another_parser_could_read_differently_is_refused(void **state)
{
    static const char *const bad[] = {
        "{",
        "[",
        "\"",
        "tru",
        "-",
        "1.",
        "1e",
        "01",
        "+1",
        ".5",
        "1.e1",
        "NaN",
        "Infinity",
        "nul1",
        "{]",
        "[}",
        "]",
        "}",
        "[1,]",
        "{\"a\":1,}",
        "[,1]",
        "{,}",
        "{a:1}",
        "{'a':1}",
        "{\"a\"}",
        "{\"a\" 1}",
        "{\"a\":}",
        "{\"a\":1 \"b\":2}",
        "[1 2]",
        "{1:2}",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\U0041\"",
        "\"a\nb\"",
        "\"\x01\"",
        "\"\xff\"",
        "\"\xc0\xaf\"",
        "\"\xed\xa0\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "\"\xe2\x82\"",
        "\"\xc3\"",
        "{}{}",
        "{} x",
        "1 2",
        "\"a\" \"b\"",
        "\xef\xbb\xbf{}",
        "/*c*/{}",
        "{}//c",
        "{\"a\":1}\x0c",
        "\x0b{}",
        "[1]\xc2\xa0",
        "True",
        "tRue",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_all_steps(bad[i], strlen(bad[i]), ERR_PROTOCOL);
    check_all_steps("", 0, ERR_PROTOCOL);
    assert_int_equal(scan_in_pieces("", 0, 1), ERR_PROTOCOL);
    check_all_steps("{\"a\0b\":1}", 9, ERR_PROTOCOL);
    check_all_steps("{}\0", 3, ERR_PROTOCOL);
}

static void depth_has_a_bound(void **state)
{
    char text[2 * JSON_SCAN_DEPTH_MAX + 3];
    memset(text, '[', JSON_SCAN_DEPTH_MAX);
    memset(text + JSON_SCAN_DEPTH_MAX, ']', JSON_SCAN_DEPTH_MAX);
    assert_int_equal(scan_in_pieces(text, 2 * JSON_SCAN_DEPTH_MAX, 7), 0);
    memset(text, '[', JSON_SCAN_DEPTH_MAX + 1);
    assert_int_equal(scan_in_pieces(text, JSON_SCAN_DEPTH_MAX + 1, 7), ERR_PROTOCOL);
}

/* The containers of a mixed nest are told apart beyond the 64th as well. */
static void deep_nests_keep_their_kinds(void **state)
{
    struct buf text;
    buf_init(&text, 4096);
    for (int i = 0; i < 60; i++)
        buf_append_str(&text, "[{\"a\":");
    buf_append_str(&text, "1");
    for (int i = 0; i < 60; i++)
        buf_append_str(&text, "}]");
    assert_int_equal(scan_in_pieces(text.data, text.len, 1), 0);
    text.data[text.len - 30] = text.data[text.len - 30] == '}' ? ']' : '}';
    assert_int_equal(scan_in_pieces(text.data, text.len, 1), ERR_PROTOCOL);
    buf_release(&text);
}

struct seen {
    char text[400];
    size_t text_len;
    bool plain, is_it;
    int64_t number;
};

static int note(void *arg, const struct json_scan *scan, enum json_token token)
{
    struct seen *seen = arg;
    if (token != JSON_TOKEN_STRING && token != JSON_TOKEN_NUMBER)
        return 0;
    snprintf(seen->text, sizeof seen->text, "%s", scan->text);
    seen->text_len = scan->text_len;
    seen->plain = scan->plain;
    seen->is_it = json_scan_is(scan, "model");
    seen->number = json_scan_integer(scan, 1000);
    return 0;
}

static struct seen scan_one(const char *text)
{
    struct seen seen = {.number = -2};
    struct json_scan scan;
    json_scan_init(&scan);
    for (const char *p = text; *p; p++)
        assert_int_equal(json_scan_feed(&scan, p, 1, note, &seen, NULL), 0);
    assert_int_equal(json_scan_end(&scan, note, &seen, NULL), 0);
    return seen;
}

static void texts_and_numbers_are_told(void **state)
{
    assert_true(scan_one("\"model\"").is_it);
    assert_false(scan_one("\"mode\\u006c\"").is_it);
    assert_string_equal(scan_one("\"a\\nb\"").text, "a\\nb");
    assert_false(scan_one("\"\xc3\xa9\"").plain);
    assert_int_equal(scan_one("17").number, 17);
    assert_int_equal(scan_one("1000").number, 1000);
    assert_int_equal(scan_one("1001").number, -1);
    assert_int_equal(scan_one("-1").number, -1);
    assert_int_equal(scan_one("1.0").number, -1);
    assert_int_equal(scan_one("1e2").number, -1);
    char text[600];
    memset(text, 'x', sizeof text);
    text[0] = text[598] = '"';
    text[599] = '\0';
    struct seen seen = scan_one(text);
    assert_int_equal(seen.text_len, 597);
    assert_int_equal(strlen(seen.text), JSON_SCAN_TEXT_MAX);
    assert_false(seen.is_it);
}

/* ---- the request */

static struct request_check check;

static int check_request(const char *text, size_t step)
{
    request_check_init(&check, "o3", false);
    size_t len = strlen(text);
    struct err err;
    for (size_t at = 0; at < len; at += step) {
        int status = request_check_feed(&check, text + at, len - at < step ? len - at : step, &err);
        if (status < 0)
            return status;
    }
    return request_check_end(&check, &err);
}

static void expect_request(const char *text, int wanted)
{
    for (size_t step = 1; step <= strlen(text); step++)
        if (check_request(text, step) != wanted)
            fail_msg("step %zu gave %d: %s", step, check_request(text, step), text);
}

static void the_configured_model_passes(void **state)
{
    expect_request("{\"model\":\"o3\"}", 0);
    expect_request(" { \"input\" : [ { \"model\":\"other\" } ] , \"model\" : \"o3\" } \n", 0);
    expect_request("{\"model\":\"o3\",\"text\":\"{\\\"model\\\":\\\"x\\\"}\",\"m\":{\"model\":1}}",
                   0);
}

static void every_other_model_is_refused(void **state)
{
    static const char *const wrong[] = {
        "{}",
        "{\"model\":\"o4\"}",
        "{\"model\":\"o33\"}",
        "{\"model\":\"o\"}",
        "{\"model\":\"\"}",
        "{\"model\":\"O3\"}",
        "{\"model\":\" o3\"}",
        "{\"model\":\"o\\u0033\"}",
        "{\"model\":null}",
        "{\"model\":3}",
        "{\"model\":[\"o3\"]}",
        "{\"model\":{\"model\":\"o3\"}}",
        "{\"Model\":\"o3\"}",
        "{\"MODEL\":\"x\",\"model\":\"o3\"}",
        "{\"model\":\"o3\",\"mOdEl\":\"x\"}",
        "{\"model\":\"o3\",\"model\":\"x\"}",
        "{\"model\":\"o3\",\"model\":\"o3\"}",
        "{\"model\":\"x\",\"model\":\"o3\"}",
        "{\"input\":{\"model\":\"o3\"}}",
        "{\"input\":[{\"model\":\"o3\"}]}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_request(wrong[i], ERR_REFUSED);
}

static void what_is_no_request_is_refused(void **state)
{
    static const char *const malformed[] = {
        "[{\"model\":\"o3\"}]",
        "\"model\"",
        "null",
        "{\"model\":\"o3\"",
        "{\"model\":\"o3\"}}",
        "{\"model\":\"o3\"}{\"model\":\"x\"}",
        "{\"model\":\"o3\"} x",
        "{\"mode\\u006c\":\"x\",\"model\":\"o3\"}",
        "{\"m\\u006fdel\":\"o3\"}",
        "{\"mod\xc3\xa9l\":\"x\",\"model\":\"o3\"}",
        "{\"\xef\xbd\x8dodel\":\"x\",\"model\":\"o3\"}",
        "{\"model\":\"o3\",}",
        "{\"model\":\"o3\" \"a\":1}",
    };
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
        expect_request(malformed[i], ERR_PROTOCOL);
}

/* Its answer would be made without anybody who meters it. */
static void work_in_the_background_is_refused(void **state)
{
    static const char *const bad[] = {
        "{\"model\":\"o3\",\"background\":true}",
        "{\"background\":true,\"model\":\"o3\"}",
        "{\"model\":\"o3\",\"BackGround\":true}",
        "{\"model\":\"o3\",\"background\":false,\"background\":true}",
        "{\"model\":\"o3\",\"background\":1}",
        "{\"model\":\"o3\",\"background\":\"true\"}",
        "{\"model\":\"o3\",\"background\":{}}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_request(bad[i], ERR_PROTOCOL);
    expect_request("{\"model\":\"o3\",\"background\":false}", 0);
    expect_request("{\"background\":null,\"model\":\"o3\"}", 0);
    expect_request("{\"model\":\"o3\",\"metadata\":{\"background\":true}}", 0);
}

/* A long name that begins as "model" is no model, and one that was cut off matches nothing. */
static void names_are_compared_whole(void **state)
{
    char text[1000];
    memset(text, 0, sizeof text);
    snprintf(text, sizeof text, "{\"model%0*d\":1,\"model\":\"o3\"}", 400, 0);
    assert_int_equal(check_request(text, 3), 0);
    snprintf(text, sizeof text, "{\"model\":\"o3%0*d\"}", 400, 0);
    assert_int_equal(check_request(text, 3), ERR_REFUSED);
}

/* No prefix of a bad request may be let through whole: the verdict falls at the last byte at the
 * latest. */
static void the_verdict_falls_before_the_last_brace(void **state)
{
    static const char text[] = "{\"input\":[]}";
    request_check_init(&check, "o3", false);
    assert_int_equal(request_check_feed(&check, text, sizeof text - 2, NULL), 0);
    assert_int_equal(request_check_feed(&check, "}", 1, NULL), ERR_REFUSED);
}

static int turn_of(const char *input)
{
    AUTO_FREE char *text = str_format("{\"model\":\"o3\",\"input\":%s}", input);
    assert_int_equal(check_request(text, 1), 0);
    return check.highest_turn;
}

static void the_turn_is_found_in_the_conversation(void **state)
{
    assert_int_equal(turn_of("[]"), 0);
    assert_int_equal(turn_of("[{\"type\":\"reasoning\",\"id\":\"rs_r1_1\"}]"), 1);
    assert_int_equal(
        turn_of("[{\"id\":\"fc_r2_1\",\"call_id\":\"call_r2_1\"},{\"call_id\":\"call_r12_3\"},"
                "{\"id\":\"msg_r3_1\"}]"),
        12);
    assert_int_equal(turn_of("[{\"id\":\"ctc_r7_1\"}]"), 7);
    /* Not from texts, not from members with another name or place, not from other ids. */
    assert_int_equal(turn_of("[{\"text\":\"rs_r5_1\",\"content\":[{\"id\":\"rs_r6_1\"}]}]"), 0);
    assert_int_equal(turn_of("\"call_r5_1\""), 0);
    assert_int_equal(
        turn_of("[{\"id\":\"rs_r5_1x\"},{\"id\":\"rs_r5\"},{\"id\":\"rs_5_1\"},{\"id\":5},"
                "{\"id\":\"rs_r-5_1\"},{\"id\":\"rs_r99999999_1\"},{\"id\":\"r\\u0073_r9_1\"}]"),
        0);
}

static void a_stream_is_wanted_by_true_alone(void **state)
{
    check_request("{\"model\":\"o3\",\"stream\":true}", 1);
    assert_true(check.wants_stream);
    check_request("{\"model\":\"o3\",\"stream\":false}", 1);
    assert_false(check.wants_stream);
    check_request("{\"model\":\"o3\",\"x\":{\"stream\":true}}", 1);
    assert_false(check.wants_stream);
}

/* A request that is to be counted: `stream` and what asks for the usage have one reading only. */
static int check_counted(const char *members, size_t step)
{
    AUTO_FREE char *text = str_format("{\"model\":\"o3\"%s}", members);
    request_check_init(&check, "o3", true);
    size_t len = strlen(text);
    struct err err;
    for (size_t at = 0; at < len; at += step) {
        int status = request_check_feed(&check, text + at, len - at < step ? len - at : step, &err);
        if (status < 0)
            return status;
    }
    return request_check_end(&check, &err);
}

static void a_stream_must_ask_for_its_usage(void **state)
{
    static const char *const good[] = {
        "",
        ",\"stream\":false",
        ",\"stream\":null,\"stream_options\":null",
        ",\"stream\":true,\"stream_options\":{\"include_usage\":true}",
        ",\"stream_options\":{\"x\":{\"include_usage\":0},\"include_usage\":true},\"stream\":true",
        ",\"stream\":false,\"x\":{\"stream\":true,\"Stream\":1}",
    };
    static const char *const bad[] = {
        ",\"stream\":true",
        ",\"stream\":true,\"stream_options\":{}",
        ",\"stream\":true,\"stream_options\":null",
        ",\"stream\":true,\"stream_options\":[{\"include_usage\":true}]",
        ",\"stream\":true,\"stream_options\":{\"x\":{\"include_usage\":true}}",
        ",\"stream\":true,\"stream_options\":{\"include_usage\":false}",
        ",\"stream\":true,\"stream_options\":{\"include_usage\":1}",
        ",\"stream\":true,\"stream_options\":{\"include_usage\":{}}",
        ",\"stream\":true,\"stream_options\":{\"include_usage\":true,\"include_usage\":false}",
        ",\"stream\":true,\"stream_options\":{\"include_usage\":true,\"Include_Usage\":false}",
        ",\"stream\":true,\"stream_options\":{\"include_us\\u0061ge\":true}",
        ",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"stream_options\":{}",
        ",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"Stream_Options\":{}",
        ",\"stream\":false,\"stream\":true",
        ",\"stream\":false,\"STREAM\":true",
        ",\"stream\":1",
        ",\"stream\":\"true\"",
        ",\"stream\":{}",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        for (size_t step = 1; step < 80; step++)
            if (check_counted(good[i], step) != 0)
                fail_msg("step %zu: refused %s", step, good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (size_t step = 1; step < 80; step++)
            if (check_counted(bad[i], step) != ERR_PROTOCOL)
                fail_msg("step %zu: %d for %s", step, check_counted(bad[i], step), bad[i]);
}

static void images_are_counted_where_they_are_images(void **state)
{
    static const struct {
        const char *member;
        unsigned images, bytes;
    } cases[] = {
        {"\"input\":[{\"type\":\"input_image\",\"image_url\":\"data:image/png;base64,AAAA\"}]", 1,
         26},
        {"\"messages\":[{\"content\":[{\"image_url\":{\"url\":\"data:image/png;base64,AAAA\"}},"
         "{\"image_url\":{\"detail\":\"low\",\"url\":\"data:image/gif;base64,BB==\"}}]}]",
         2, 52},
        {"\"messages\":[{\"source\":{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"AAAA\"}}]",
         1, 4},
        /* Text is text, whatever it looks like. */
        {"\"input\":[{\"text\":\"data:image/png;base64,AAAA\"}]", 0, 0},
        {"\"input\":\"data:image/png;base64,AAAA\"", 0, 0},
        {"\"input\":[{\"image_url\":[\"data:image/png;base64,AAAA\"]}]", 0, 0},
        {"\"input\":[{\"image_url\":\"data:image/png;base64,AA\\u0041A\"}]", 0, 0},
        {"\"input\":[{\"url\":\"https://example.com/image.png\"}]", 0, 0},
        {"\"messages\":[{\"type\":\"redacted_thinking\",\"data\":\"AAAA\"}]", 0, 0},
        {"\"messages\":[{\"media_type\":\"image/png\"},{\"data\":\"AAAA\"}]", 0, 0},
        {"\"messages\":[{\"media_type\":\"text/plain\",\"data\":\"AAAA\"}]", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 1; step < 40; step++) {
            AUTO_FREE char *text = str_format("{\"model\":\"o3\",%s}", cases[i].member);
            assert_int_equal(check_request(text, step), 0);
            if (check.images != cases[i].images || check.image_bytes != cases[i].bytes)
                fail_msg("step %zu: %u images in %u bytes: %s", step, check.images,
                         (unsigned)check.image_bytes, text);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_read_at_any_split),
        cmocka_unit_test(what_another_parser_could_read_differently_is_refused),
        cmocka_unit_test(depth_has_a_bound),
        cmocka_unit_test(deep_nests_keep_their_kinds),
        cmocka_unit_test(texts_and_numbers_are_told),
        cmocka_unit_test(the_configured_model_passes),
        cmocka_unit_test(every_other_model_is_refused),
        cmocka_unit_test(what_is_no_request_is_refused),
        cmocka_unit_test(work_in_the_background_is_refused),
        cmocka_unit_test(names_are_compared_whole),
        cmocka_unit_test(the_verdict_falls_before_the_last_brace),
        cmocka_unit_test(the_turn_is_found_in_the_conversation),
        cmocka_unit_test(a_stream_is_wanted_by_true_alone),
        cmocka_unit_test(a_stream_must_ask_for_its_usage),
        cmocka_unit_test(images_are_counted_where_they_are_images),
    };
    return cmocka_run_group_tests_name("gateway request", tests, NULL, NULL);
}
