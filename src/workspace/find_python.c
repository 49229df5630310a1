#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "workspace/find_each.h"

/* pytest's own rules, docs.pytest.org, "Configuration file formats". */
static bool pytest_configured(const struct find_input *input)
{
    static const struct {
        const char *file;
        const char *section; /* NULL: the file itself says it */
    } places[] = {
        {"pytest.ini", NULL},
        {".pytest.ini", NULL},
        {"pyproject.toml", "[tool.pytest.ini_options]"},
        {"setup.cfg", "[tool:pytest]"},
        {"tox.ini", "[pytest]"},
    };
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        AUTO_BUF struct buf text;
        buf_init(&text, SCAN_FILE_BYTES);
        if (scan_read_top(input->dir, places[i].file, &text) &&
            (!places[i].section || scan_has_line(text.data, places[i].section)))
            return true;
    }
    return input->scan->conftest;
}

static bool unittest_none_ran(int exit_code, const char *output_tail)
{
    /* 5 since Python 3.12. */
    return exit_code == 5 || (exit_code == 0 && strstr(output_tail, "Ran 0 tests in"));
}

static bool pytest_none_ran(int exit_code, const char *output_tail)
{
    return exit_code == 5; /* "no tests were collected": docs.pytest.org, "Exit codes" */
}

/* Packages below src/ are not found from the top unless they are installed, which nobody has
 * done. */
static bool has_src_layout(const char *dir)
{
    AUTO_FREE char *src = str_format("%s/src", dir);
    AUTO_DIR DIR *stream = opendir(src);
    struct dirent *entry;
    if (!stream || faccessat(dirfd(stream), "__init__.py", F_OK, 0) == 0)
        return false;
    for (int left = 1000; left && (entry = readdir(stream)); left--) {
        AUTO_FREE char *init = str_format("%s/__init__.py", entry->d_name);
        if (entry->d_name[0] != '.' && faccessat(dirfd(stream), init, F_OK, 0) == 0)
            return true;
    }
    return false;
}

static void use_unittest(const struct scan *scan, struct test_plan *plan)
{
    plan->found = "unittest";
    plan->none_ran = unittest_none_ran;
    bool top = !strcmp(scan->python_start, ".");
    if (scan->python_prefix && top)
        test_plan_add(plan, "python3", "-m", "unittest", "discover", "-v", NULL);
    else if (scan->python_prefix)
        test_plan_add(plan, "python3", "-m", "unittest", "discover", "-v", "-s", scan->python_start,
                      NULL);
    else
        test_plan_add(plan, "python3", "-m", "unittest", "discover", "-v", "-s", scan->python_start,
                      "-p", "*_test.py", NULL);
}

void find_python(const struct find_input *input, struct test_plan *plan)
{
    const struct scan *scan = input->scan;
    bool configured = pytest_configured(input);
    if (!scan->python_tests && !configured)
        return;
    bool wanted = configured || scan->uses_pytest || !scan->uses_unittest;
    /* Test files that are all unittest's can do without a pytest that is configured but missing. */
    bool either = scan->uses_unittest && !scan->uses_pytest;
    if (!wanted || (either && !input->probe->pytest(input->probe->arg))) {
        use_unittest(scan, plan);
    } else {
        plan->found = "pytest";
        plan->none_ran = pytest_none_ran;
        test_plan_add(plan, "python3", "-m", "pytest", NULL);
    }
    if (has_src_layout(input->dir))
        plan->env = str_dup("PYTHONPATH=src");
}
