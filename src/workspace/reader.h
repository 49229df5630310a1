/* A reader of one kind of output; see results.h. For the readers and results.c alone. */
#ifndef CODEX_WORKSPACE_READER_H
#define CODEX_WORKSPACE_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "task/test_list.h"

/* What a reader has found. */
struct reading {
    struct test_list list;
    bool seen;   /* the runner's summary was there: what is in the list counts */
    bool broken; /* it contradicts itself */
};

struct reader {
    size_t size; /* of its state, which is all zero at first */
    /* LINE is terminated, without its end, colours and white space behind it. */
    void (*line)(void *state, struct reading *reading, const char *line);
    void (*end)(void *state, struct reading *reading);
    /* Between the runner's first line and its last one, output is that of its tests, which other
     * readers must not take for a runner's. NULL: never. */
    bool (*owns)(const void *state);
};

extern const struct reader reader_pytest, reader_unittest, reader_tap, reader_prove, reader_node,
    reader_mocha, reader_jest, reader_vitest, reader_cargo, reader_go, reader_ctest, reader_meson;

/* Shared by readers: reading.c. */

/* Skip WORD at *AT; false, and *AT stays, when it is not there. */
bool take_word(const char **at, const char *word);

/* Skip digits; false when there are none. OUT gets their value, up to a million. */
bool take_number(const char **at, size_t *out);

/* Skip white space. Returns how many characters. */
size_t take_space(const char **at);

/* LINE ends with WORD, which *LEN then does not count any more. */
bool drop_end(const char *line, size_t *len, const char *word);

/* " (12.3ms)", " (5 ms)", " 12ms" and the like at the end. */
bool drop_duration(const char *line, size_t *len);

void reading_add(struct reading *reading, enum test_status status, const char *name, size_t len);
void reading_addf(struct reading *reading, enum test_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Counts of a runner's summary beside the reader's own. */
struct tally {
    size_t passed, failed, skipped;
};
void tally_add(struct tally *tally, enum test_status status);
/* The tally begins anew; when it is not what the summary says, the reading is broken. */
void tally_check(struct tally *tally, const struct tally *said, struct reading *reading);

/* Names of suites around a test, by how far they are indented. */
enum { TITLES_MAX = 16, TITLE_MAX = 256 };
struct titles {
    char at[TITLES_MAX][TITLE_MAX];
};
/* The title at DEPTH; deeper ones go. */
void titles_set(struct titles *titles, size_t depth, const char *title, size_t len);
/* Add "title > title > name", of the titles above DEPTH. */
void titles_add(const struct titles *titles, size_t depth, struct reading *reading,
                enum test_status status, const char *name, size_t len);

#endif
