/* What standard output is: a terminal whose cursor may move, or a pipe that gets plain lines. */
#ifndef CODEX_CLI_TERMINAL_H
#define CODEX_CLI_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Standard output is a terminal, and TERM says that it can move its cursor (it is set, not
 * "dumb"). */
bool terminal_is_live(void);

/* The same, and NO_COLOR (https://no-color.org) is not set. */
bool terminal_has_color(void);

/* Its size now. In a pipe the number of columns is SIZE_MAX: nothing is cut there. */
size_t terminal_columns(void);
size_t terminal_rows(void);

enum style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_RED, STYLE_GREEN, STYLE_YELLOW, STYLE_CYAN };

/* Switch to STYLE, and back; nothing is appended unless COLOR. */
void style_begin(struct buf *out, bool color, enum style style);
void style_end(struct buf *out, bool color, enum style style);

/* TEXT in STYLE. */
void style_append(struct buf *out, bool color, enum style style, const char *text);

#endif
