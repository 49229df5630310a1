/* Cargo, Go, CMake and Meson. */
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "workspace/find_each.h"

/* Beside the sources, under a name that no repository has; the sandbox is thrown away. */
#define BUILD_DIR "build-codex"

static bool cargo_none_ran(int exit_code, const char *output_tail)
{
    /* Such a line for every test program, also for those without a test. */
    static const char passed[] = "test result: ok. ";
    if (exit_code != 0)
        return false;
    for (const char *p = output_tail; (p = strstr(p, passed));) {
        p += sizeof passed - 1;
        if (!str_starts_with(p, "0 passed; 0 failed; 0 ignored"))
            return false;
    }
    return true;
}

void find_cargo(const struct find_input *input, struct test_plan *plan)
{
    if (!scan_has(input->dir, "Cargo.toml"))
        return;
    plan->found = "Cargo.toml";
    plan->none_ran = cargo_none_ran;
    test_plan_add(plan, "cargo", "test", "--no-fail-fast", NULL);
}

void find_go(const struct find_input *input, struct test_plan *plan)
{
    if (!scan_has(input->dir, "go.mod") || !input->scan->go_tests)
        return;
    plan->found = "go.mod";
    test_plan_add(plan, "go", "test", "./...", NULL);
}

static bool ctest_none_ran(int exit_code, const char *output_tail)
{
    return strstr(output_tail, "No tests were found!!!");
}

void find_cmake(const struct find_input *input, struct test_plan *plan)
{
    AUTO_BUF struct buf text;
    buf_init(&text, 1 << 20);
    if (!scan_read_top(input->dir, "CMakeLists.txt", &text) ||
        !(strcasestr(text.data, "enable_testing") || strcasestr(text.data, "include(CTest")))
        return;
    plan->found = "CMakeLists.txt";
    plan->none_ran = ctest_none_ran;
    test_plan_add(plan, "cmake", "-S", ".", "-B", BUILD_DIR, NULL);
    test_plan_add(plan, "cmake", "--build", BUILD_DIR, "--parallel", "4", NULL);
    test_plan_add(plan, "ctest", "--test-dir", BUILD_DIR, "--output-on-failure", NULL);
}

static bool meson_none_ran(int exit_code, const char *output_tail)
{
    return strstr(output_tail, "No tests defined.");
}

void find_meson(const struct find_input *input, struct test_plan *plan)
{
    if (!scan_has(input->dir, "meson.build") || !input->scan->meson_tests)
        return;
    plan->found = "meson.build";
    plan->none_ran = meson_none_ran;
    test_plan_add(plan, "meson", "setup", BUILD_DIR, NULL);
    test_plan_add(plan, "meson", "test", "-C", BUILD_DIR, "--print-errorlogs", NULL);
}
