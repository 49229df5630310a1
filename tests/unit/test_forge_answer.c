/* What GitHub's answers are taken for. */
#include "test.h"

#include <errno.h>

#include "forge/github_answer.h"

static struct rest_answer answer_of(int status, const char *body)
{
    return (struct rest_answer){.status = status, .body = body, .len = strlen(body), .wait_ms = -1};
}

static void check(const struct rest_answer *answer, int code, int64_t wait_ms, const char *part)
{
    struct err err = {0};
    json_t *root = github_answer_read(answer, "cannot x", &err);
    assert_int_equal(err.code, code);
    assert_true(!root == (code != 0));
    if (code)
        assert_non_null(strstr(err.message, part));
    assert_int_equal(github_answer_wait_ms(answer, &err), wait_ms);
    json_decref(root);
}

/* A refusal is for good, and a limit of requests is not: both are 403. */
static void limits_and_refusals_differ(void **state)
{
    struct rest_answer answer = answer_of(200, "{}");
    check(&answer, 0, 0, "");
    answer = answer_of(200, "<html>");
    check(&answer, -EIO, 0, "cannot x: the server's answer is no JSON");
    answer = answer_of(403, "{\"message\":\"Resource not accessible by personal access token\"}");
    check(&answer, ERR_REFUSED, 0, "403: Resource not accessible");
    answer = answer_of(403, "{\"message\":\"You have exceeded a secondary rate limit.\"}");
    check(&answer, -EAGAIN, 60000, "too many requests");
    answer.wait_ms = 7000;
    check(&answer, -EAGAIN, 7000, "too many requests");
    answer = answer_of(429, "");
    check(&answer, -EAGAIN, 60000, "too many requests");
    answer = answer_of(502, "{\"message\":\"Server Error\"}");
    check(&answer, -EIO, 0, "502");
    answer.wait_ms = 5000;
    check(&answer, -EIO, 5000, "502");
    answer = answer_of(404, "{\"message\":\"Not Found\"}");
    check(&answer, ERR_NOT_FOUND, 0, "does not see it (404)");
    answer = answer_of(401, "{\"message\":\"Bad credentials\"}");
    check(&answer, ERR_REFUSED, 0, "the token is refused (401): Bad credentials");
    answer = answer_of(301, "{\"message\":\"Moved Permanently\"}");
    check(&answer, ERR_REFUSED, 0, "it has moved (301)");
}

static void words_are_bounded_and_one_line(void **state)
{
    static const char *const cases[][2] = {
        {"{\"message\":\"Validation Failed\",\"errors\":[{\"message\":\"No commits\"}]}",
         "Validation Failed: No commits"},
        {"{\"message\":\"Validation Failed\",\"errors\":[\"as\\ntext\"]}",
         "Validation Failed: as text"},
        {"{\"message\":\"Validation Failed\",\"errors\":[{\"resource\":\"PullRequest\","
         "\"field\":\"base\",\"code\":\"invalid\"}]}",
         "Validation Failed: base is invalid"},
        {"{\"message\":\"m\",\"errors\":{}}", "m"},
        {"{\"message\":7,\"errors\":[7]}", ""},
        {"[]", ""},
        {"", ""},
    };
    char words[GITHUB_WORDS_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rest_answer answer = answer_of(422, cases[i][0]);
        github_answer_words(&answer, words, sizeof words);
        assert_string_equal(words, cases[i][1]);
    }
    char body[2000] = "{\"message\":\"x";
    for (int i = 0; i < 400; i++)
        strcat(body, "\xc3\xbc");
    strcat(body, "\"}");
    struct rest_answer answer = answer_of(422, body);
    github_answer_words(&answer, words, sizeof words);
    assert_true(strlen(words) <= 200 && strlen(words) % 2 == 1); /* no half a character */
    char few[8];
    github_answer_words(&answer, few, sizeof few);
    assert_string_equal(few, "x\xc3\xbc\xc3\xbc\xc3\xbc");
}

#define PULL                                                                                       \
    "{\"number\":7,\"html_url\":\"https://h/pull/7\",\"state\":\"open\",\"draft\":true,"           \
    "\"head\":{\"ref\":\"feat/x\",\"sha\":\"0123456789012345678901234567890123456789\","           \
    "\"repo\":{\"full_name\":\"Team/Calc\"}},\"base\":{\"ref\":\"main\"}}"

static void pulls_are_told_apart(void **state)
{
    struct github_pull pull;
    struct err err = {0};
    json_t *json = json_loads(PULL, 0, NULL);
    assert_int_equal(github_pull_read(json, &pull, &err), 0);
    assert_true(pull.open && pull.draft && !pull.merged && pull.number == 7);
    assert_true(github_pull_is_between(json, "team/calc", "feat/x", "main"));
    assert_false(github_pull_is_between(json, "team/fork", "feat/x", "main"));
    assert_false(github_pull_is_between(json, "team/calc", "feat/X", "main"));
    assert_false(github_pull_is_between(json, "team/calc", "feat/x", "next"));
    /* The fork that it came from is gone. */
    json_object_set_new(json_object_get(json, "head"), "repo", json_null());
    assert_false(github_pull_is_between(json, "team/calc", "feat/x", "main"));
    /* What is needed is missed. */
    static const char *const needed[] = {"number", "html_url", "state"};
    for (size_t i = 0; i < 3; i++) {
        json_t *less = json_deep_copy(json);
        json_object_del(less, needed[i]);
        assert_int_equal(github_pull_read(less, &pull, &err), ERR_PROTOCOL);
        json_decref(less);
    }
    json_object_set_new(json, "html_url", json_string("javascript:alert(1)"));
    assert_int_equal(github_pull_read(json, &pull, &err), ERR_PROTOCOL);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_and_refusals_differ),
        cmocka_unit_test(words_are_bounded_and_one_line),
        cmocka_unit_test(pulls_are_told_apart),
    };
    return cmocka_run_group_tests_name("forge_answer", tests, NULL, NULL);
}
