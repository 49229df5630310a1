#include "cli/suggest.h"

#include <string.h>

#include "base/str.h"

enum { WORD_MAX = 31 };

static size_t least(size_t a, size_t b, size_t c)
{
    size_t min = a < b ? a : b;
    return min < c ? min : c;
}

/* Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t d[WORD_MAX + 1][WORD_MAX + 1];
    size_t a_len = strlen(a), b_len = strlen(b);
    for (size_t i = 0; i <= a_len; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= b_len; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= a_len; i++)
        for (size_t j = 1; j <= b_len; j++) {
            d[i][j] =
                least(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1, d[i][j]);
        }
    return d[a_len][b_len];
}

void suggest_begin(struct suggestion *suggestion, const char *word)
{
    /* About a third of the letters may be wrong: "stauts" is near "status", "run" near nothing. */
    *suggestion = (struct suggestion){.word = word, .distance = (strlen(word) + 1) / 3 + 1};
}

void suggest_weigh(struct suggestion *suggestion, const char *candidate)
{
    const char *word = suggestion->word;
    if (strlen(word) > WORD_MAX || strlen(candidate) > WORD_MAX || !*word)
        return;
    /* The beginning of a word is near it, however long the rest is. */
    size_t distance =
        strlen(word) >= 3 && str_starts_with(candidate, word) ? 1 : edit_distance(word, candidate);
    if (distance < suggestion->distance) {
        suggestion->nearest = candidate;
        suggestion->distance = distance;
    }
}
