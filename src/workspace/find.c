#include "workspace/find.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "workspace/find_each.h"

const char test_plan_looked_for[] =
    "a test script in package.json, pytest or unittest files, a target test or check in a "
    "Makefile, Cargo.toml, go.mod with *_test.go, pom.xml or build.gradle with test classes, tests in "
    "CMakeLists.txt or meson.build";

/* The order is a promise: see find.h. */
static void (*const finders[])(const struct find_input *input, struct test_plan *plan) = {
    find_node, find_python, find_make, find_cargo, find_go, find_java, find_cmake, find_meson,
};

int test_plan_find(const char *dir, const struct test_probe *probe, struct test_plan *plan,
                   struct err *err)
{
    struct scan scan;
    *plan = (struct test_plan){0};
    int status = scan_tree(dir, &scan, err);
    if (status < 0)
        return status;
    const struct find_input input = {dir, &scan, probe};
    for (size_t i = 0; !plan->found && i < sizeof finders / sizeof finders[0]; i++)
        finders[i](&input, plan);
    return 0;
}

void test_plan_use(const char *command, struct test_plan *plan)
{
    *plan = (struct test_plan){.found = "test_command"};
    test_plan_add(plan, "bash", "-lc", command, NULL);
}

void test_plan_add(struct test_plan *plan, ...)
{
    assert(plan->count < TEST_COMMANDS_MAX);
    char **argv = plan->argv[plan->count++];
    size_t n = 0;
    va_list args;
    va_start(args, plan);
    for (const char *arg; (arg = va_arg(args, const char *)); n++) {
        assert(n < TEST_ARGS_MAX);
        argv[n] = str_dup(arg);
    }
    va_end(args);
}

void test_plan_release(struct test_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        for (size_t n = 0; plan->argv[i][n]; n++)
            free(plan->argv[i][n]);
    free(plan->env);
    *plan = (struct test_plan){0};
}

static void describe_word(const char *word, struct buf *out)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=,:@%+";
    bool quote = !*word || word[strspn(word, plain)];
    if (!quote) {
        buf_append_str(out, word);
        return;
    }
    buf_append_char(out, '\'');
    for (; *word; word++) {
        if (*word == '\'')
            buf_append_str(out, "'\\''");
        else
            buf_append_char(out, *word);
    }
    buf_append_char(out, '\'');
}

void test_plan_describe(const struct test_plan *plan, struct buf *out)
{
    if (plan->count == 1 && plan->found && !strcmp(plan->found, "test_command")) {
        buf_append_str(out, plan->argv[0][2]);
        return;
    }
    if (plan->env)
        buf_appendf(out, "%s ", plan->env);
    for (size_t i = 0; i < plan->count; i++) {
        if (i)
            buf_append_str(out, " && ");
        for (size_t n = 0; plan->argv[i][n]; n++) {
            if (n)
                buf_append_char(out, ' ');
            describe_word(plan->argv[i][n], out);
        }
    }
}
