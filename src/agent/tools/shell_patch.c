#include "agent/tools/shell_patch.h"

#include <string.h>

#include "base/str.h"

static const char BLANK[] = " \t";
static const char BLANK_OR_NEWLINE[] = " \t\r\n";

/* What ends a plain word, or would make the shell expand it. */
static const char SPECIAL[] = " \t\r\n;&|<>()$`\"'\\*?[]{}~#!";

static const char *skip(const char *p, const char *set)
{
    return p + strspn(p, set);
}

/* A word at P, plain or quoted; returns what is behind it, or NULL. */
static const char *take_word(const char *p, struct slice *word)
{
    char quote = *p;
    if (quote != '\'' && quote != '"') {
        *word = (struct slice){p, strcspn(p, SPECIAL)};
        return word->len ? p + word->len : NULL;
    }
    p++;
    *word = (struct slice){p, strcspn(p, quote == '"' ? "\"$`\\\n" : "'\n")};
    return word->len && p[word->len] == quote ? p + word->len + 1 : NULL;
}

/* KEYWORD and blanks behind it; returns what follows, or NULL. */
static const char *take_keyword(const char *p, const char *keyword)
{
    size_t len = strlen(keyword);
    if (strncmp(p, keyword, len) != 0)
        return NULL;
    return skip(p + len, BLANK);
}

/* "cd directory &&", when it is there. Returns what follows, P itself, or NULL for another cd. */
static const char *take_cd(const char *p, struct slice *directory)
{
    const char *rest = take_keyword(p, "cd");
    if (!rest || rest == p + 2)
        return p;
    rest = take_word(rest, directory);
    if (!rest)
        return NULL;
    rest = take_keyword(skip(rest, BLANK), "&&");
    return rest ? skip(rest, BLANK_OR_NEWLINE) : NULL;
}

/* The line that is WORD alone, at or behind P. */
static const char *find_end(const char *p, struct slice word)
{
    while (p) {
        if (!strncmp(p, word.at, word.len)) {
            const char *behind = p + word.len;
            if (*behind == '\0' || *behind == '\n' || !strncmp(behind, "\r\n", 2))
                return p;
        }
        p = strchr(p, '\n');
        p = p ? p + 1 : NULL;
    }
    return NULL;
}

bool shell_patch_is_bare(const char *command)
{
    return str_starts_with(skip(command, BLANK_OR_NEWLINE), "*** Begin Patch");
}

bool shell_patch_find(const char *command, struct shell_patch *out)
{
    *out = (struct shell_patch){.directory = {NULL, 0}};
    const char *p = take_cd(skip(command, BLANK_OR_NEWLINE), &out->directory);
    const char *rest = p ? take_keyword(p, "apply_patch") : NULL;
    if (p && !rest)
        rest = take_keyword(p, "applypatch");
    rest = rest ? take_keyword(rest, "<<") : NULL;
    struct slice word;
    rest = rest ? take_word(rest, &word) : NULL;
    if (!rest)
        return false;
    rest = skip(rest, " \t\r");
    if (*rest != '\n')
        return false;
    const char *end = find_end(rest + 1, word);
    if (!end || *skip(end + word.len, BLANK_OR_NEWLINE))
        return false;
    out->patch = (struct slice){rest + 1, (size_t)(end - rest - 1)};
    return true;
}
