#include <jansson.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "workspace/find_each.h"

enum { PACKAGE_JSON_MAX = 4 << 20 };

/* `npm init` writes a script that only says that there is none. */
static const char no_script[] = "no test specified";

/* The runners that name their tests only when they are asked to, and how. */
static const struct {
    const char *program, *option;
} asked[] = {
    {"jest", "--verbose"},
    {"react-scripts", "--verbose"},
    {"vitest", "--reporter=verbose"},
};

static bool has_script(const char *script)
{
    return script && script[strspn(script, " ")] && !strstr(script, no_script);
}

/* The option for the runner that SCRIPT starts, if it starts nothing else: what is added to the
 * command goes to its last program. */
static const char *option_for(const char *script)
{
    if (strpbrk(script, "&|;<>()`$\n#"))
        return NULL;
    AUTO_FREE char *words = str_dup(script);
    char *rest = words, *word;
    while ((word = strsep(&rest, " "))) {
        if (!*word || strchr(word, '=') || !strcmp(word, "npx") || !strcmp(word, "cross-env"))
            continue;
        for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++)
            if (!strcmp(word, asked[i].program))
                return asked[i].option;
        return NULL;
    }
    return NULL;
}

/* What of a package manager's kind runs the script, with an option for it. */
static void use(struct test_plan *plan, const char *manager, const char *option)
{
    if (!option)
        test_plan_add(plan, manager, "test", NULL);
    else if (!strcmp(manager, "npm")) /* the others pass on everything behind the script's name */
        test_plan_add(plan, manager, "test", "--", option, NULL);
    else
        test_plan_add(plan, manager, "test", option, NULL);
}

void find_node(const struct find_input *input, struct test_plan *plan)
{
    AUTO_BUF struct buf text;
    buf_init(&text, PACKAGE_JSON_MAX);
    if (!scan_read_top(input->dir, "package.json", &text))
        return;
    json_error_t error;
    json_t *package = json_loadb(text.data, text.len, 0, &error);
    const char *script =
        json_string_value(json_object_get(json_object_get(package, "scripts"), "test"));
    /* npm's lock file first: who has several has most likely come from another to npm. */
    bool npm =
        scan_has(input->dir, "package-lock.json") || scan_has(input->dir, "npm-shrinkwrap.json");
    const char *manager = !npm && scan_has(input->dir, "pnpm-lock.yaml") ? "pnpm"
                          : !npm && scan_has(input->dir, "yarn.lock")    ? "yarn"
                                                                         : "npm";
    if (has_script(script)) {
        plan->found = "package.json";
        use(plan, manager, option_for(script));
    }
    json_decref(package);
}
