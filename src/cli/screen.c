#include "cli/screen.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "cli/text.h"

/* Columns of LINE (LEN bytes) without the colours that we put into it. */
static size_t visible_width(const char *line, size_t len)
{
    size_t width = 0;
    while (len) {
        const char *escape = memchr(line, '\x1b', len);
        size_t plain = escape ? (size_t)(escape - line) : len;
        width += text_width(line, plain);
        line += plain;
        len -= plain;
        while (len && *line != 'm') {
            line++;
            len--;
        }
        if (len) {
            line++;
            len--;
        }
    }
    return width;
}

/* Rows that the block takes on a terminal of COLUMNS: terminals break a line that has become too
 * long for them into several. */
static size_t rows_on_screen(const struct screen *screen, size_t columns)
{
    size_t rows = 0;
    for (size_t i = 0; i < screen->lines; i++)
        rows += screen->widths[i] > columns ? (screen->widths[i] + columns - 1) / columns : 1;
    return rows;
}

static void remember(struct screen *screen, const struct buf *block)
{
    screen->lines = 0;
    const char *line = block->data;
    while (*line && screen->lines < SCREEN_LINES_MAX) {
        size_t len = strcspn(line, "\n");
        screen->widths[screen->lines++] = visible_width(line, len);
        line += line[len] ? len + 1 : len;
    }
}

int screen_update(struct screen *screen, const struct buf *lines, const struct buf *block,
                  size_t columns, struct err *err)
{
    AUTO_BUF struct buf out;
    buf_init(&out, lines->len + block->len + 64);
    size_t rows = rows_on_screen(screen, columns);
    if (rows)
        buf_appendf(&out, "\r\x1b[%zuA\x1b[J", rows); /* up, and erase to the end of the screen */
    else
        buf_append_str(&out, "\r\x1b[J");
    buf_append(&out, lines->data, lines->len);
    buf_append(&out, block->data, block->len);
    remember(screen, block);
    return io_write_all(screen->fd, out.data, out.len, err);
}

void screen_forget(struct screen *screen)
{
    screen->lines = 0;
}
