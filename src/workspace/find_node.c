#include <jansson.h>
#include <string.h>

#include "base/cleanup.h"
#include "workspace/find_each.h"

enum { PACKAGE_JSON_MAX = 4 << 20 };

/* `npm init` writes a script that only says that there is none. */
static const char no_script[] = "no test specified";

static bool has_test_script(const char *text, size_t len)
{
    json_error_t error;
    json_t *package = json_loadb(text, len, 0, &error);
    const char *script =
        json_string_value(json_object_get(json_object_get(package, "scripts"), "test"));
    bool found = script && script[strspn(script, " ")] && !strstr(script, no_script);
    json_decref(package);
    return found;
}

void find_node(const struct find_input *input, struct test_plan *plan)
{
    AUTO_BUF struct buf text;
    buf_init(&text, PACKAGE_JSON_MAX);
    if (!scan_read_top(input->dir, "package.json", &text) || !has_test_script(text.data, text.len))
        return;
    plan->found = "package.json";
    /* npm's lock file first: who has several has most likely come from another to npm. */
    bool npm =
        scan_has(input->dir, "package-lock.json") || scan_has(input->dir, "npm-shrinkwrap.json");
    if (!npm && scan_has(input->dir, "pnpm-lock.yaml"))
        test_plan_add(plan, "pnpm", "test", NULL);
    else if (!npm && scan_has(input->dir, "yarn.lock"))
        test_plan_add(plan, "yarn", "test", NULL);
    else
        test_plan_add(plan, "npm", "test", NULL);
}
