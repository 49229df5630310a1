/* The lines that rendering is made of. Private to render.c and render_item.c. */
#ifndef CODEX_CLI_RENDER_LINES_H
#define CODEX_CLI_RENDER_LINES_H

#include "cli/render.h"
#include "cli/terminal.h"

/* Begin EVENT's line: what is left of output, a line with the date when it has changed, the
 * time. */
void line_begin(struct render *render, const json_t *event, struct buf *out);

/* A whole line of EVENT: the time, INDENT spaces, TEXT (safe, one line) in STYLE. */
void line_add(struct render *render, const json_t *event, size_t indent, enum style style,
              const char *text, struct buf *out);

/* LABEL, and TEXT (from outside, any number of lines) behind it, in STYLE. */
void lines_add(struct render *render, const json_t *event, enum style style, const char *label,
               const char *text, struct buf *out);

/* TEXT from outside as output: each line behind a bar. LINES_MAX > 0: only that many from its
 * end. */
void output_add(struct render *render, const char *text, size_t lines_max, struct buf *out);

/* An event `item.*`. */
void render_item(struct render *render, const json_t *event, struct buf *out);

#endif
