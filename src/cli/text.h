/*
 * Text for a terminal: how wide it is, cutting it to fit, and making safe what came out of a
 * sandbox. Text is UTF-8; widths are columns as wcwidth(3) says in the process's LC_CTYPE, which
 * text_init() makes a UTF-8 one.
 */
#ifndef CODEX_CLI_TEXT_H
#define CODEX_CLI_TEXT_H

#include <stddef.h>

#include "base/buf.h"

/* Once, at the start of the program. */
void text_init(void);

size_t text_width(const char *s, size_t len);

/* How many of the LEN bytes at S, from the front and in whole characters, fit into COLUMNS. */
size_t text_fit(const char *s, size_t len, size_t columns);

/* Append the first line of S, in at most COLUMNS; "..." at its end says that there was more. Tabs
 * become spaces. S is safe for a terminal. */
void text_append_cut(struct buf *out, const char *s, size_t columns);

/*
 * Append LEN bytes that a program wrote, or a model, as a terminal would have shown them in the
 * end: escape sequences are dropped, "\r" starts the line again and "\b" takes a character back.
 * What else is not text becomes visible (str_append_terminal_safe).
 */
void text_append_clean(struct buf *out, const char *s, size_t len);

/* text_append_clean() of S into memory that the caller frees; NULL becomes "". */
char *text_clean(const char *s);

#endif
