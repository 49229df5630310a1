#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "workspace/find_each.h"

enum { MAKEFILE_MAX = 1 << 20 };

/* Whether the rule that LINE starts has TARGET among its targets: "all test: dep" has, "test := x",
 * "x = test: y" and ".PHONY: test" have not. */
static bool line_defines(const char *line, size_t len, const char *target)
{
    const char *colon = memchr(line, ':', len);
    if (!colon || strchr("\t#.", line[0]) || memchr(line, '=', (size_t)(colon - line)))
        return false;
    const char *after = colon + 1 + (colon[1] == ':'); /* double-colon rules are rules too */
    if (*after == '=')
        return false;
    size_t target_len = strlen(target);
    for (const char *word = line; word < colon;) {
        size_t word_len = strcspn(word, " :");
        if (word_len == target_len && !memcmp(word, target, target_len))
            return true;
        word += word_len;
        word += strspn(word, " ");
    }
    return false;
}

static bool has_target(const char *text, const char *target)
{
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        if (line_defines(line, len, target))
            return true;
        line += len + (line[len] == '\n');
    }
    return false;
}

void find_make(const struct find_input *input, struct test_plan *plan)
{
    /* The order in which GNU make looks for them. */
    static const char *const names[] = {"GNUmakefile", "makefile", "Makefile"};
    static const char *const targets[] = {"test", "check"};
    AUTO_BUF struct buf text;
    buf_init(&text, MAKEFILE_MAX);
    bool found = false;
    for (size_t i = 0; !found && i < sizeof names / sizeof names[0]; i++)
        found = scan_read_top(input->dir, names[i], &text);
    for (size_t i = 0; found && !plan->found && i < sizeof targets / sizeof targets[0]; i++)
        if (has_target(text.data, targets[i])) {
            plan->found = "Makefile";
            test_plan_add(plan, "make", targets[i], NULL);
        }
}
