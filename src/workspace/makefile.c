#include "workspace/makefile.h"

#include <stddef.h>
#include <string.h>

#include "workspace/scan.h"

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

bool makefile_has_target(const char *text, const char *target)
{
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        if (line_defines(line, len, target))
            return true;
        line += len + (line[len] == '\n');
    }
    return false;
}

const char *makefile_read(const char *dir, struct buf *text)
{
    /* The order in which GNU make looks for them. */
    static const char *const names[] = {"GNUmakefile", "makefile", "Makefile"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (scan_read_top(dir, names[i], text))
            return names[i];
    return NULL;
}
