#include "test.h"

#include "agent/tools/output.h"
#include "base/cleanup.h"

static const char *text(const struct output *output, uint64_t tokens, struct buf *out)
{
    buf_clear(out);
    output_text(output, tokens, out);
    return out->data;
}

static void short_output_is_kept_whole(void **state)
{
    struct output output;
    AUTO_BUF struct buf out;
    buf_init(&out, 1000);
    output_init(&output, 100);
    assert_string_equal(text(&output, 10, &out), "");
    assert_int_equal(output_tokens(&output), 0);
    output_append(&output, "hello ", 6);
    output_append(&output, "world", 5);
    assert_string_equal(text(&output, 3, &out), "hello world");
    assert_int_equal(output_tokens(&output), 3);
    output_release(&output);
    assert_string_equal(text(&output, 3, &out), "");
}

static void a_long_one_keeps_head_and_tail(void **state)
{
    struct output output;
    AUTO_BUF struct buf out;
    buf_init(&out, 1000);
    output_init(&output, 100);
    for (char c = 'a'; c <= 'z'; c++)
        output_append(&output, &c, 1);
    assert_string_equal(text(&output, 2, &out), "abcd…5 tokens truncated…wxyz");
    assert_string_equal(text(&output, 0, &out), "…7 tokens truncated…");
    output_release(&output);
}

/* However the bytes come, what is kept is the first and the last of them. */
static void a_flood_keeps_its_ends(void **state)
{
    enum { TOTAL = 5000, KEPT = 64 };
    static const size_t steps[] = {1, 7, 31, 32, 33, 64, 65, 100, 4999, 5000};
    char flood[TOTAL];
    for (size_t i = 0; i < TOTAL; i++)
        flood[i] = (char)('!' + i % 90);
    for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++) {
        struct output output;
        AUTO_BUF struct buf out, expected;
        buf_init(&out, 1000);
        buf_init(&expected, 1000);
        output_init(&output, KEPT);
        for (size_t at = 0; at < TOTAL; at += steps[s])
            output_append(&output, flood + at, at + steps[s] < TOTAL ? steps[s] : TOTAL - at);
        buf_append(&expected, flood, KEPT / 2);
        buf_append_str(&expected, "…1234 tokens truncated…");
        buf_append(&expected, flood + TOTAL - KEPT / 2, KEPT / 2);
        assert_string_equal(text(&output, 1000, &out), expected.data);
        assert_int_equal(output.total, TOTAL);
        output_release(&output);
    }
}

static void no_character_is_cut(void **state)
{
    struct output output;
    AUTO_BUF struct buf out;
    buf_init(&out, 1000);
    output_init(&output, 1000);
    output_append(&output, "aé€𝄞bbbbb𝄞€éa", strlen("aé€𝄞bbbbb𝄞€éa"));
    assert_string_equal(text(&output, 2, &out), "aé…5 tokens truncated…éa");
    assert_string_equal(text(&output, 5, &out), "aé€𝄞…2 tokens truncated…𝄞€éa");
    output_release(&output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_output_is_kept_whole),
        cmocka_unit_test(a_long_one_keeps_head_and_tail),
        cmocka_unit_test(a_flood_keeps_its_ends),
        cmocka_unit_test(no_character_is_cut),
    };
    return cmocka_run_group_tests_name("agent_output", tests, NULL, NULL);
}
