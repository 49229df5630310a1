/* Rows and columns of text: every column as wide as its widest cell, the last one cut to fit. */
#ifndef CODEX_CLI_TABLE_H
#define CODEX_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "cli/terminal.h"

enum { TABLE_COLUMNS_MAX = 10 };

struct table_cell {
    char *text;
    enum style style;
};

struct table {
    size_t columns;
    struct table_cell *cells; /* row by row */
    size_t count, capacity;
};

/* HEADER holds COLUMNS names; NULL for a table without a header. */
void table_init(struct table *table, size_t columns, const char *const *header);
void table_release(struct table *table);

/* The next cell, left to right. TEXT is copied, made safe for a terminal, and only its first line
 * is shown; NULL is shown as "-". */
void table_add(struct table *table, enum style style, const char *text);

/* The rows, in at most WIDTH columns of the terminal (SIZE_MAX: uncut). */
void table_append(const struct table *table, size_t width, bool color, struct buf *out);

#endif
