/*
 * Text as apply_patch sees it: slices of bytes that nobody copies, trimmed and compared as
 * openai/codex does (white space is Unicode's White_Space; malformed UTF-8 is ordinary text).
 */
#ifndef CODEX_AGENT_TOOLS_PATCH_TEXT_H
#define CODEX_AGENT_TOOLS_PATCH_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct slice {
    const char *at;
    size_t len;
};

/* How much two lines may differ and still be the same line, from strict to lenient. */
enum patch_likeness {
    PATCH_EXACT,
    PATCH_TRIM_END,    /* white space at the end does not count */
    PATCH_TRIM,        /* nor does white space at the beginning */
    PATCH_PUNCTUATION, /* and dashes, quotes and spaces of every kind are their ASCII ones */
    PATCH_LIKENESS_COUNT,
};

struct slice slice_of(const char *s);
struct slice slice_trim(struct slice s);
struct slice slice_trim_end(struct slice s);
bool slice_is(struct slice s, const char *text);

/* When S starts with PREFIX, cut that off and return true. */
bool slice_skip(struct slice *s, const char *prefix);

bool slice_alike(struct slice a, struct slice b, enum patch_likeness likeness);

#endif
