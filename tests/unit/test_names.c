#include "test.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/object_id.h"
#include "base/process.h"
#include "base/refname.h"
#include "base/str.h"

static bool valid(const char *name)
{
    struct err err;
    return refname_check_branch(name, &err) == 0;
}

static void branch_names_that_would_be_something_else_are_refused(void **state)
{
    const char *bad[] = {"",     "-x",   "--all", "HEAD",  "@",      "a..b",     "a b",
                         "a\tb", "a~b",  "a^b",   "a:b",   "a?b",    "a*b",      "a[b",
                         "a\\b", "a@{b", ".a",    "a/.b",  "a.lock", "a.lock/b", "/a",
                         "a/",   "a//b", "a.",    "a\x7f", "a\nb",   "a\x1b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(valid(bad[i]));
    char long_name[REFNAME_MAX_BYTES + 2];
    memset(long_name, 'a', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    assert_false(valid(long_name));
    long_name[REFNAME_MAX_BYTES] = '\0';
    assert_true(valid(long_name));
}

static void other_names_are_literal(void **state)
{
    const char *good[] = {"main", "feat/x", "$(touch",      "`x`",     ";rm", "\xe3\x80\x80",
                          "a-b",  "a.b",    "refs/heads/x", "a@b",     "\"",  "'",
                          "&",    "|",      "locked",       "a.lockx", "{",   "head"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(valid(good[i]));
}

/* Two branches on the same input: ours and git's. */
static void git_agrees(void **state)
{
    static const char alphabet[] = "a.-/@{~l:*\\ock\xc3\xa4";
    struct err err;
    unsigned seed = 1;
    for (int i = 0; i < 300; i++) {
        char name[9];
        size_t len = 1 + (seed = seed * 1103515245 + 12345) / 65536 % (sizeof name - 1);
        for (size_t n = 0; n < len; n++)
            name[n] = alphabet[(seed = seed * 1103515245 + 12345) / 65536 % (sizeof alphabet - 1)];
        name[len] = '\0';
        AUTO_FREE char *ref = str_format("refs/heads/%s", name);
        const char *argv[] = {"git", "check-ref-format", ref, NULL};
        bool git_says =
            process_run(argv, -1, NULL, &err) == 0 && name[0] != '-' && strcmp(name, "@") != 0;
        if (git_says != valid(name))
            fail_msg("'%s': git says %d", name, git_says);
    }
}

static void object_ids_are_read_strictly(void **state)
{
    assert_true(object_id_valid("0123456789abcdef0123456789abcdef01234567"));
    assert_false(object_id_valid("0123456789abcdef0123456789abcdef0123456"));
    assert_false(object_id_valid("0123456789abcdef0123456789abcdef012345678"));
    assert_false(object_id_valid("0123456789ABCDEF0123456789abcdef01234567"));
    assert_false(object_id_valid("0123456789abcdef0123456789abcdef0123456g"));
    assert_false(object_id_valid(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(branch_names_that_would_be_something_else_are_refused),
        cmocka_unit_test(other_names_are_literal),
        cmocka_unit_test(git_agrees),
        cmocka_unit_test(object_ids_are_read_strictly),
    };
    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
