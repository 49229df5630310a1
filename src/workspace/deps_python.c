#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "workspace/deps_each.h"

static const char pip[] = "python3 -m pip install";

/* Lists beside requirements.txt by which projects name what their tests need. */
static const char *const lists[] = {
    "requirements.txt",      "requirements-dev.txt",   "requirements-test.txt",
    "dev-requirements.txt",  "test-requirements.txt",  "requirements_dev.txt",
    "requirements_test.txt", "requirements/dev.txt",   "requirements/test.txt",
    "requirements/base.txt", "requirements-tests.txt",
};

/* Whether a list of requirements has a line that is one. */
static bool names_something(const char *text)
{
    for (const char *line = text; *line;) {
        line += strspn(line, " \t\r");
        size_t len = strcspn(line, "\n");
        if (len && *line != '#')
            return true;
        line += len + (line[len] == '\n');
    }
    return false;
}

/* All lists in one command, so that pip sees their conflicts. */
static bool add_lists(const struct deps_place *place)
{
    AUTO_BUF struct buf text, line;
    buf_init(&text, SCAN_FILE_BYTES);
    buf_init(&line, 4096);
    buf_append_str(&line, pip);
    bool some = false;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        if (!deps_read(place, lists[i], &text) || !names_something(text.data))
            continue;
        buf_appendf(&line, " -r %s", lists[i]);
        some = true;
    }
    if (some)
        deps_add(place, "requirements.txt", "%s", line.data);
    return some;
}

/* The groups of optional dependencies that tests are usually named by: "[dev,test]", or "". */
static void append_extras(const char *text, struct buf *out)
{
    static const char *const groups[] = {"dev", "test", "tests", "testing"};
    const char *section = strstr(text, "[project.optional-dependencies]");
    if (!section)
        return;
    const char *end = strstr(section, "\n[");
    AUTO_FREE char *own =
        str_format("%.*s", (int)(end ? end - section : (ptrdiff_t)strlen(section)), section);
    char separator = '[';
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        AUTO_FREE char *plain = str_format("%s =", groups[i]);
        AUTO_FREE char *tight = str_format("%s=", groups[i]);
        if (!scan_has_line(own, plain) && !scan_has_line(own, tight))
            continue;
        buf_append_char(out, separator);
        buf_append_str(out, groups[i]);
        separator = ',';
    }
    if (separator == ',')
        buf_append_char(out, ']');
}

/* A pyproject.toml can also hold nothing but settings of tools. */
static bool is_project(const char *text)
{
    return scan_has_line(text, "[project]") || scan_has_line(text, "[build-system]");
}

/* uv and poetry make environments of their own, where `python3 -m pytest` would not look: what they
 * lock is put where the system's Python finds it. */
static void add_uv(const struct deps_place *place)
{
    deps_add(place, "uv.lock",
             "%suv export --frozen --quiet --no-hashes --output-file /tmp/uv-requirements.txt && "
             "uv pip install --system --break-system-packages -r /tmp/uv-requirements.txt",
             deps_get_first(place, "uv", "python3 -m pip install uv && "));
}

static void add_poetry(const struct deps_place *place)
{
    deps_add(place, "poetry.lock", "%spoetry install --no-interaction",
             deps_get_first(place, "poetry", "python3 -m pip install poetry && "));
}

bool deps_python(const struct deps_place *place)
{
    AUTO_BUF struct buf text, extras;
    buf_init(&text, SCAN_FILE_BYTES);
    buf_init(&extras, 256);
    if (deps_has(place, "uv.lock")) {
        add_uv(place);
        return true;
    }
    if (deps_has(place, "poetry.lock")) {
        add_poetry(place);
        return true;
    }
    if (place->covered)
        return false;
    bool listed = add_lists(place);
    if (deps_read(place, "pyproject.toml", &text) && is_project(text.data)) {
        append_extras(text.data, &extras);
        deps_add(place, "pyproject.toml", "%s -e '.%s'", pip, extras.data);
        return true;
    }
    if (deps_has(place, "setup.py")) {
        deps_add(place, "setup.py", "%s -e .", pip);
        return true;
    }
    return listed;
}
