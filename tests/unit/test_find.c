#include "scratch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "workspace/find.h"

static bool pytest_is_there;
static int pytest_asked;

static bool probe_pytest(void *arg)
{
    pytest_asked++;
    return pytest_is_there;
}

static int set_up(void **state)
{
    pytest_is_there = false;
    pytest_asked = 0;
    return scratch_make();
}

/* What is found is FOUND, run by COMMAND; both NULL for nothing. */
static void expect(const char *found, const char *command)
{
    const struct test_probe probe = {probe_pytest, NULL};
    struct test_plan plan;
    struct err err;
    AUTO_BUF struct buf text;
    buf_init(&text, 4096);
    assert_int_equal(test_plan_find(scratch, &probe, &plan, &err), 0);
    if (found) {
        assert_non_null(plan.found);
        assert_string_equal(plan.found, found);
        test_plan_describe(&plan, &text);
        assert_string_equal(text.data, command);
    } else {
        assert_null(plan.found);
    }
    test_plan_release(&plan);
}

static void nothing_is_found_in_nothing(void **state)
{
    expect(NULL, NULL);
    put("README.md", "test: make test\n");
    put("src/main.c", "int main(void) {}\n");
    expect(NULL, NULL);
    struct test_plan plan;
    struct err err;
    assert_true(test_plan_find("/nonexistent", NULL, &plan, &err) < 0);
    test_plan_release(&plan);
}

static void node_projects_use_the_manager_of_their_lock_file(void **state)
{
    put("package.json", "{\"scripts\":{\"test\":\"node --test\"}}");
    expect("package.json", "npm test");
    put("yarn.lock", "");
    expect("package.json", "yarn test");
    put("pnpm-lock.yaml", "");
    expect("package.json", "pnpm test");
    put("package-lock.json", "{}");
    expect("package.json", "npm test");
}

static void node_projects_without_a_real_script_are_passed_over(void **state)
{
    const char *none[] = {
        "{\"scripts\":{\"test\":\"echo \\\"Error: no test specified\\\" && exit 1\"}}",
        "{\"scripts\":{\"test\":\"\"}}",
        "{\"scripts\":{\"test\":7}}",
        "{\"scripts\":[]}",
        "{\"scripts\":{\"build\":\"x\"}}",
        "{}",
        "[]",
        "",
        "{\"scripts\":{\"test\":\"x\"}"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        put("package.json", none[i]);
        expect(NULL, NULL);
    }
    put("Makefile", "test:\n");
    expect("Makefile", "make test");
}

static const char unittest_file[] =
    "import unittest\nclass T(unittest.TestCase):\n    def test_x(self): pass\n";
static const char pytest_file[] = "def test_x():\n    assert True\n";

static void unittest_needs_no_pytest(void **state)
{
    pytest_is_there = true;
    put("tests/__init__.py", "");
    put("tests/test_a.py", unittest_file);
    expect("unittest", "python3 -m unittest discover -v");
    assert_int_equal(pytest_asked, 0);
}

static void a_configured_pytest_is_used_if_it_is_there_or_needed(void **state)
{
    const struct {
        const char *file, *text;
    } configurations[] = {
        {"pytest.ini", "[pytest]\n"},
        {"pyproject.toml", "[project]\nname = 'x'\n[tool.pytest.ini_options]\n"},
        {"setup.cfg", "[metadata]\n[tool:pytest]\n"},
        {"tox.ini", "[pytest]\n"},
        {"tests/conftest.py", "import pytest\n"},
    };
    put("tests/test_a.py", unittest_file);
    for (size_t i = 0; i < sizeof configurations / sizeof *configurations; i++) {
        put(configurations[i].file, configurations[i].text);
        pytest_is_there = true;
        expect("pytest", "python3 -m pytest");
        pytest_is_there = false;
        expect("unittest", "python3 -m unittest discover -v -s tests");
        AUTO_FREE char *path = str_format("%s/%s", scratch, configurations[i].file);
        unlink(path);
    }
    expect("unittest", "python3 -m unittest discover -v -s tests");
    /* Tests that only pytest can run are run by it, there or not. */
    put("tests/test_b.py", pytest_file);
    expect("pytest", "python3 -m pytest");
}

static void what_pytest_alone_understands_is_pytest(void **state)
{
    const char *texts[] = {pytest_file,
                           "async def test_x():\n    pass\n",
                           "import pytest\n",
                           "class TestX:\n    def test_x(self): pass\n",
                           "from pytest import raises\n",
                           "x = 1\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        put("test_a.py", texts[i]);
        expect("pytest", "python3 -m pytest");
    }
    put("pyproject.toml", "# [tool.pytest.ini_options]\n");
    put("test_a.py", unittest_file);
    expect("unittest", "python3 -m unittest discover -v");
}

static void discovery_begins_in_the_outermost_place(void **state)
{
    put("checks/deep/test_b.py", unittest_file);
    expect("unittest", "python3 -m unittest discover -v -s checks/deep");
    put("checks/test_a.py", unittest_file);
    expect("unittest", "python3 -m unittest discover -v -s checks");
    put("tests/test_a.py", unittest_file);
    expect("unittest", "python3 -m unittest discover -v -s checks");
    put("lib/__init__.py", "");
    put("lib/test_c.py", unittest_file);
    expect("unittest", "python3 -m unittest discover -v");
}

static void what_others_wrote_is_not_looked_at(void **state)
{
    put("node_modules/x/test_a.py", pytest_file);
    put(".venv/lib/test_a.py", pytest_file);
    put("vendor/x/x_test.go", "");
    put("go.mod", "module x\n");
    expect(NULL, NULL);
    put("x_test.go", "");
    expect("go.mod", "go test ./...");
}

static void make_targets_are_read_as_make_reads_them(void **state)
{
    const char *none[] = {"all:\n\ttest:\n",      "TEST := test: x\n", "test := 1\n",
                          ".PHONY: test check\n", "# test:\n",         "mytest:\n",
                          "testing: x\n",         "x: test\n",         "all:\n\t@echo test: yes\n"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        put("Makefile", none[i]);
        expect(NULL, NULL);
    }
    const char *test[] = {"test:\n",          "all test: x\n",   "test :\n",       "test:: x\n",
                          "x:\n\ty\ntest: x", "check:\ntest:\n", "test: FOO = 1\n"};
    for (size_t i = 0; i < sizeof test / sizeof *test; i++) {
        put("Makefile", test[i]);
        expect("Makefile", "make test");
    }
    put("Makefile", "check: all\n");
    expect("Makefile", "make check");
    put("GNUmakefile", "all:\n");
    expect(NULL, NULL);
}

static void compiled_projects(void **state)
{
    put("CMakeLists.txt", "project(x)\n");
    expect(NULL, NULL);
    put("CMakeLists.txt", "project(x)\nINCLUDE(CTest)\n");
    expect("CMakeLists.txt",
           "cmake -S . -B build-codex && cmake --build build-codex --parallel 4 && "
           "ctest --test-dir build-codex --output-on-failure");
    put("Cargo.toml", "[package]\n");
    expect("Cargo.toml", "cargo test --no-fail-fast");
    put("Makefile", "test:\n");
    expect("Makefile", "make test");
}

static void meson_needs_a_test(void **state)
{
    put("meson.build", "project('x')\nsubdir('tests')\n");
    expect(NULL, NULL);
    put("tests/meson.build", "foreach t : x\n  test(t, t)\nendforeach\n");
    expect("meson.build", "meson setup build-codex && meson test -C build-codex --print-errorlogs");
}

static void expect_script(const char *script, const char *command)
{
    AUTO_FREE char *text = str_format("{\"scripts\":{\"test\":\"%s\"}}", script);
    put("package.json", text);
    expect("package.json", command);
}

static void runners_of_scripts_are_asked_for_names(void **state)
{
    expect_script("jest", "npm test -- --verbose");
    expect_script("NODE_ENV=test npx jest --ci", "npm test -- --verbose");
    expect_script("react-scripts test", "npm test -- --verbose");
    expect_script("vitest run", "npm test -- --reporter=verbose");
    /* nothing is added where it could go to another program */
    expect_script("jest && eslint .", "npm test");
    expect_script("jest | tee log", "npm test");
    expect_script("eslint . jest", "npm test");
    expect_script("jestify", "npm test");
    expect_script("mocha", "npm test");
    put("pnpm-lock.yaml", "");
    expect_script("jest", "pnpm test --verbose");
    put("yarn.lock", "");
    put("package-lock.json", "");
    expect_script("jest", "npm test -- --verbose");
}

static void java_needs_test_classes(void **state)
{
    put("pom.xml", "<project/>");
    expect(NULL, NULL);
    put("src/test/java/x/CalculatorTest.java", "class CalculatorTest {}\n");
    expect("pom.xml", "mvn -B -fae test");
    put("mvnw", "#!/bin/sh\n"); /* not executable */
    expect("pom.xml", "mvn -B -fae test");
    AUTO_FREE char *wrapper = str_format("%s/mvnw", scratch);
    assert_int_equal(chmod(wrapper, 0755), 0);
    expect("pom.xml", "./mvnw -B -fae test");
    AUTO_FREE char *pom = str_format("%s/pom.xml", scratch);
    assert_int_equal(unlink(pom), 0);
    expect(NULL, NULL);
    put("build.gradle.kts", "");
    expect("build.gradle", "gradle --continue test");
}

static void packages_below_src_are_put_on_the_path(void **state)
{
    put("src/thing/__init__.py", "");
    put("tests/test_a.py", pytest_file);
    expect("pytest", "PYTHONPATH=src python3 -m pytest");
    put("src/__init__.py", "");
    expect("pytest", "python3 -m pytest");
}

static bool none_ran(int exit_code, const char *tail)
{
    const struct test_probe probe = {probe_pytest, NULL};
    struct test_plan plan;
    struct err err;
    assert_int_equal(test_plan_find(scratch, &probe, &plan, &err), 0);
    bool none = plan.none_ran(exit_code, tail);
    test_plan_release(&plan);
    return none;
}

static void runs_without_a_test_are_recognised(void **state)
{
    put("Cargo.toml", "[package]\n");
    const char nothing[] =
        "running 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered "
        "out; finished in 0.00s\n\n   Doc-tests x\n\nrunning 0 tests\n\ntest result: ok. 0 passed; "
        "0 "
        "failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\n";
    assert_true(none_ran(0, nothing));
    assert_false(none_ran(101, nothing));
    assert_false(none_ran(
        0,
        "test result: ok. 0 passed; 0 failed; 0 ignored;\ntest result: ok. 12 passed; 0 failed;"));
    assert_false(none_ran(0, "test result: ok. 0 passed; 0 failed; 3 ignored; 0 measured"));
    put("test_a.py", unittest_file);
    assert_true(none_ran(0, "\nRan 0 tests in 0.000s\n\nOK\n"));
    assert_true(none_ran(5, "\nRan 0 tests in 0.000s\n\nNO TESTS RAN\n"));
    assert_false(none_ran(0, "\nRan 10 tests in 0.000s\n\nOK\n"));
    assert_false(none_ran(1, "\nRan 0 tests in 0.000s\n\nFAILED (errors=1)\n"));
}

static void commands_are_shown_as_one_would_type_them(void **state)
{
    struct test_plan plan = {.found = "x"};
    AUTO_BUF struct buf text;
    buf_init(&text, 4096);
    test_plan_add(&plan, "a b", "it's", "", "$(x)", "plain-1.0", NULL);
    test_plan_describe(&plan, &text);
    assert_string_equal(text.data, "'a b' 'it'\\''s' '' '$(x)' plain-1.0");
    test_plan_release(&plan);
    buf_clear(&text);
    test_plan_use("make -C 'x y' && true", &plan);
    test_plan_describe(&plan, &text);
    assert_string_equal(text.data, "make -C 'x y' && true");
    assert_string_equal(plan.argv[0][1], "-lc");
    test_plan_release(&plan);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_found_in_nothing),
        TEST(node_projects_use_the_manager_of_their_lock_file),
        TEST(node_projects_without_a_real_script_are_passed_over),
        TEST(unittest_needs_no_pytest),
        TEST(a_configured_pytest_is_used_if_it_is_there_or_needed),
        TEST(what_pytest_alone_understands_is_pytest),
        TEST(discovery_begins_in_the_outermost_place),
        TEST(what_others_wrote_is_not_looked_at),
        TEST(make_targets_are_read_as_make_reads_them),
        TEST(compiled_projects),
        TEST(meson_needs_a_test),
        TEST(runners_of_scripts_are_asked_for_names),
        TEST(java_needs_test_classes),
        TEST(packages_below_src_are_put_on_the_path),
        TEST(runs_without_a_test_are_recognised),
        TEST(commands_are_shown_as_one_would_type_them),
    };
    return cmocka_run_group_tests_name("find", tests, NULL, NULL);
}
