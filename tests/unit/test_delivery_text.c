/* What a branch and a pull request are called, and what they say. */
#include "test.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "forge/forge.h"
#include "orchestrator/branch.h"
#include "orchestrator/run_config.h"
#include "task/exit.h"

static void check_branch(const struct task *task, int64_t number, const char *expected)
{
    AUTO_FREE char *name = branch_name(task, number);
    assert_string_equal(name, expected);
}

static void branches_are_slugs(void **state)
{
    struct task task = {.id = "task-abc123", .prompt = (char *)"Add pagination to the API!"};
    check_branch(&task, 1, "feat/add-pagination-to-the-api");
    check_branch(&task, 3, "feat/add-pagination-to-the-api-3");
    task.title = (char *)"Paginate";
    check_branch(&task, 1, "feat/paginate");
    task.branch_offered = (char *)"feat/pages";
    check_branch(&task, 1, "feat/pages");
    task.branch_offered = (char *)"fix/../--Übel $(x)\n.lock";
    check_branch(&task, 1, "feat/fix-bel-x-lock");
    task.branch_offered = (char *)"\xe3\x80\x80//";
    check_branch(&task, 1, "feat/paginate");
    task.branch_offered = task.title = NULL;
    task.prompt = (char *)"日本語";
    check_branch(&task, 1, "feat/task-abc123");
    task.prompt =
        (char *)"Implement user authentication with OAuth2 and also everything else there is";
    check_branch(&task, 2, "feat/implement-user-authentication-with-oauth2-and-also-2");
    task.prompt =
        (char *)"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx y";
    check_branch(&task, 1, "feat/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    task.branch_wanted = (char *)"mine/X";
    check_branch(&task, 5, "mine/X");
}

static const struct refusals none;

static void check_title(const struct task *task, enum verdict verdict, const char *expected)
{
    AUTO_FREE char *title = pull_request_title(task, verdict);
    assert_string_equal(title, expected);
}

static void titles_are_one_line(void **state)
{
    struct task task = {.id = "task-abc123", .prompt = (char *)"\n Do it\nand more"};
    check_title(&task, VERDICT_PASSED, "Do it");
    task.title = (char *)"Did it\r\nmore";
    check_title(&task, VERDICT_PASSED, "Did it");
    check_title(&task, VERDICT_NO_TESTS, "Did it (no tests)");
    char words[400] = "";
    for (int i = 0; i < 30; i++)
        strcat(words, "wörter ");
    task.title = words;
    AUTO_FREE char *title = pull_request_title(&task, VERDICT_PASSED);
    assert_true(strlen(title) <= 103 && str_ends_with(title, "wörter…"));
}

static void the_body_carries_the_evidence(void **state)
{
    struct task task = {
        .id = "task-abc123",
        .body = (char *)"It was missing.",
        .model = (char *)"o3",
        .effort = (char *)"high",
        .baseline = {.known = true,
                     .status = TEST_FAILED,
                     .command = (char *)"make `x` | y\nz",
                     .exit_code = 2,
                     .duration_ms = 12340,
                     .passed = 3,
                     .failed = 1},
        .usage = {1000, 400, 50, 7},
    };
    AUTO_FREE char *body = pull_request_body(&task, VERDICT_UNPROVEN, &none);
    assert_non_null(strstr(body, "It was missing.\n\n### Evidence"));
    assert_non_null(strstr(body,
                           "| before (baseline) | `make 'x' / y z` | failed (exit status 2) | 3 | "
                           "1 | 0 | 12.3 s |\n"));
    assert_non_null(strstr(body, "| after (verification) | | did not run | | | | |\n"));
    assert_null(strstr(body, "compared"));
    assert_non_null(strstr(body, "Verdict: **unproven**"));
    assert_non_null(
        strstr(body, "1000 tokens in (400 of them cached), 50 out (7 of them reasoning)"));
    /* However much an agent says, the evidence is there. */
    size_t len = 1 << 20;
    AUTO_FREE char *flood = malloc(len + 1);
    memset(flood, 'x', len);
    flood[len] = '\0';
    task.body = flood;
    AUTO_FREE char *bounded = pull_request_body(&task, VERDICT_NONE, &none);
    assert_true(strlen(bounded) < 70000);
    assert_non_null(strstr(bounded, "Verdict: **none**"));
}

static void the_body_names_tests(void **state)
{
    struct task task = {
        .id = "task-abc123",
        .model = (char *)"o3",
        .effort = (char *)"high",
        .baseline = {.known = true, .status = TEST_FAILED, .exit_code = 1, .passed = -1},
        .verification = {.known = true, .status = TEST_FAILED_AS_BEFORE, .exit_code = 1},
    };
    AUTO_FREE char *unread = pull_request_body(&task, VERDICT_UNPROVEN, &none);
    assert_non_null(strstr(unread, "The results of single tests could not be compared."));
    task.changes.compared = true;
    AUTO_FREE char *same = pull_request_body(&task, VERDICT_PASSED, &none);
    assert_non_null(strstr(same, "Test by test, nothing has changed."));
    assert_non_null(strstr(same, "only tests fail that failed before"));
    assert_null(strstr(same, "A draft"));
    struct test_change_names *removed = &task.changes.of[TEST_REMOVED];
    test_change_names_add(removed, "a.py::x[`|\\]");
    for (int i = 0; i < 30; i++)
        test_change_names_add(removed, "test");
    AUTO_FREE char *body = pull_request_body(&task, VERDICT_PASSED, &none);
    assert_non_null(strstr(body, "| removed | 31 | `a.py::x['/\\]`, `test`, "));
    assert_non_null(strstr(body, "`test` and 11 more |\n"));
    assert_null(strstr(body, "newly broken"));
    assert_non_null(strstr(body, "A draft, because tests that ran before are gone"));
    test_changes_release(&task.changes);
}

static void the_body_lists_refused_addresses(void **state)
{
    struct task task = {.id = "task-abc123", .model = (char *)"o3", .effort = (char *)"high"};
    struct refusals refusals = {
        .of = {{(char *)"evil.test", 443, (char *)"host_not_allowed", 7},
               {(char *)"fd00::1", 80, (char *)"private_address", 1},
               {(char *)"a`|\n# b\xff", 0, NULL, 2},
               {NULL, 0, (char *)"others", 9}},
        .count = 4,
        .total = 33,
    };
    AUTO_FREE char *body = pull_request_body(&task, VERDICT_PASSED, &refusals);
    assert_non_null(strstr(body, "### Refused addresses\n\n| address | reason | times |\n"));
    assert_non_null(strstr(body, "| `evil.test:443` | `host_not_allowed` | 7 |\n"));
    assert_non_null(strstr(body, "| `[fd00::1]:80` | `private_address` | 1 |\n"));
    assert_non_null(strstr(body, "| `a'/ # b\xef\xbf\xbd` | `?` | 2 |\n"));
    assert_non_null(strstr(body, "| `others` | `others` | 9 |\n\nand 29 more.\n\nMade by"));
    AUTO_FREE char *without = pull_request_body(&task, VERDICT_PASSED, &none);
    assert_null(strstr(without, "Refused"));
    /* The names of hosts have no bound here; the body does. */
    char *flood = malloc(1 << 20);
    memset(flood, 'x', (1 << 20) - 1);
    flood[(1 << 20) - 1] = '\0';
    for (size_t i = 0; i < REFUSALS_MAX; i++)
        refusals.of[i] = (struct refusal){flood, 1, flood, 1};
    refusals.count = REFUSALS_MAX;
    AUTO_FREE char *bounded = pull_request_body(&task, VERDICT_PASSED, &refusals);
    assert_true(strlen(bounded) < 20000);
    assert_non_null(strstr(bounded, "Made by Codex"));
    free(flood);
}

/* What is behind an open comment, tag or piece of code would not be read. */
static void words_do_not_hide_the_evidence(void **state)
{
    static const char *const hiding[] = {"x <!-- y", "<details>", "see\n```c\nint x;",
                                         "- ~~~\n  x\n- ~~~\n", "````\n```\nx\n```\n```\n"};
    static const char *const open[] = {"a < b", "it is 1<2", "```\nx\n```\ndone", "`<` x"};
    struct task task = {.id = "task-abc123", .model = (char *)"o3", .effort = (char *)"high"};
    for (size_t i = 0; i < sizeof hiding / sizeof hiding[0]; i++) {
        task.body = (char *)hiding[i];
        AUTO_FREE char *body = pull_request_body(&task, VERDICT_PASSED, &none);
        assert_true(str_starts_with(body, "### Evidence"));
        assert_true(strstr(body, hiding[i]) > strstr(body, "Made by Codex"));
    }
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++) {
        task.body = (char *)open[i];
        AUTO_FREE char *body = pull_request_body(&task, VERDICT_PASSED, &none);
        assert_true(str_starts_with(body, open[i]));
    }
}

/* GitHub takes 65536 characters, and what is cut is the agent's. */
static void everything_fits_at_once(void **state)
{
    struct task task = {.id = "task-abc123", .model = (char *)"o3", .effort = (char *)"high"};
    struct refusals refusals = {.count = REFUSALS_MAX, .total = INT64_MAX};
    char name[400], *words = malloc(1 << 20);
    memset(words, 'x', (1 << 20) - 1);
    words[(1 << 20) - 1] = '\0';
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    task.body = words;
    task.baseline = task.verification = (struct test_result){
        .known = true, .status = TEST_TIMED_OUT, .command = name, .exit_code = 255};
    task.changes.compared = true;
    for (enum test_change i = 0; i < TEST_CHANGE_COUNT; i++)
        for (int n = 0; n < 25; n++)
            test_change_names_add(&task.changes.of[i], name);
    for (size_t i = 0; i < REFUSALS_MAX; i++)
        refusals.of[i] = (struct refusal){name, INT64_MAX, name, INT64_MAX};
    AUTO_FREE char *body = pull_request_body(&task, VERDICT_UNPROVEN, &refusals);
    assert_true(strlen(body) < 65536);
    assert_true(str_ends_with(body, "(0 of them reasoning).\n"));
    assert_non_null(strstr(body, "x\n\n…\n\n### Evidence"));
    test_changes_release(&task.changes);
    free(words);
}

static void directories_have_harmless_names(void **state)
{
    static const char *const cases[][2] = {
        {"/home/me/demo", "demo"},
        {"/home/me/demo.git", "demo"},
        {"/srv/a b;c/", "a_b_c"},
        {"/x/.hidden", "_hidden"},
        {"/", "repo"},
        {"/x/..", "_."},
        {"/x/\xc3\xa9", "__"},
        {"/.git", "_git"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char name[SPAWN_REPO_SIZE];
        run_config_repo_name(cases[i][0], name);
        assert_string_equal(name, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(branches_are_slugs),
        cmocka_unit_test(titles_are_one_line),
        cmocka_unit_test(the_body_carries_the_evidence),
        cmocka_unit_test(the_body_names_tests),
        cmocka_unit_test(the_body_lists_refused_addresses),
        cmocka_unit_test(words_do_not_hide_the_evidence),
        cmocka_unit_test(everything_fits_at_once),
        cmocka_unit_test(directories_have_harmless_names),
    };
    return cmocka_run_group_tests_name("delivery_text", tests, NULL, NULL);
}
