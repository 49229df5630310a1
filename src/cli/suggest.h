/* "Did you mean": the nearest of the words that would have been right. */
#ifndef CODEX_CLI_SUGGEST_H
#define CODEX_CLI_SUGGEST_H

#include <stddef.h>

struct suggestion {
    const char *word;
    const char *nearest; /* NULL: none is near enough */
    size_t distance;
};

void suggest_begin(struct suggestion *suggestion, const char *word);

/* Weigh CANDIDATE (not copied) against what was the nearest so far. */
void suggest_weigh(struct suggestion *suggestion, const char *candidate);

#endif
