/*
 * A terminal on which lines scroll away above a block that is drawn again and again. The cursor is
 * left at the start of the line below the block. Nothing about the terminal is switched, so there
 * is nothing to put back when the program is killed.
 */
#ifndef CODEX_CLI_SCREEN_H
#define CODEX_CLI_SCREEN_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

enum { SCREEN_LINES_MAX = 16 };

struct screen {
    int fd;
    size_t widths[SCREEN_LINES_MAX]; /* columns of the block's lines as they were drawn */
    size_t lines;                    /* of the block on the screen */
};

/* Replace the block on the screen by LINES (which stay, may be "") and the new BLOCK (may be ""),
 * on a terminal of COLUMNS: other than before, when it was resized in between. Both consist of
 * whole lines; in BLOCK each is narrower than COLUMNS. */
int screen_update(struct screen *screen, const struct buf *lines, const struct buf *block,
                  size_t columns, struct err *err);

/* Something else wrote to the terminal (the shell, after Ctrl-Z): leave what is there, begin
 * anew. */
void screen_forget(struct screen *screen);

#endif
