#include "cli/terminal.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { COLUMNS_DEFAULT = 80, ROWS_DEFAULT = 24 };

bool terminal_is_live(void)
{
    const char *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

bool terminal_has_color(void)
{
    const char *no_color = getenv("NO_COLOR");
    return terminal_is_live() && !(no_color && *no_color);
}

/* A terminal that does not know its size (a serial line) says 0. */
static struct winsize window_size(void)
{
    struct winsize size = {0};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
        size = (struct winsize){.ws_col = COLUMNS_DEFAULT, .ws_row = ROWS_DEFAULT};
    if (size.ws_row == 0)
        size.ws_row = ROWS_DEFAULT;
    return size;
}

size_t terminal_columns(void)
{
    return isatty(STDOUT_FILENO) ? window_size().ws_col : SIZE_MAX;
}

size_t terminal_rows(void)
{
    return window_size().ws_row;
}

/* Select Graphic Rendition, ECMA-48 section 8.3.117. */
static const char *const sgr[] = {
    [STYLE_BOLD] = "\x1b[1m",   [STYLE_DIM] = "\x1b[2m",     [STYLE_RED] = "\x1b[31m",
    [STYLE_GREEN] = "\x1b[32m", [STYLE_YELLOW] = "\x1b[33m", [STYLE_CYAN] = "\x1b[36m",
};

void style_begin(struct buf *out, bool color, enum style style)
{
    if (color && style != STYLE_PLAIN)
        buf_append_str(out, sgr[style]);
}

void style_end(struct buf *out, bool color, enum style style)
{
    if (color && style != STYLE_PLAIN)
        buf_append_str(out, "\x1b[0m");
}

void style_append(struct buf *out, bool color, enum style style, const char *text)
{
    style_begin(out, color, style);
    buf_append_str(out, text);
    style_end(out, color, style);
}
