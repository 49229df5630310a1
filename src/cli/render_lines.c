#include "cli/render_lines.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/fields.h"
#include "cli/format.h"
#include "cli/text.h"
#include "cli/words.h"

enum { GUTTER = 9 }; /* "10:22:05 " */

static void pad(struct buf *out, size_t columns)
{
    buf_appendf(out, "%*s", (int)columns, "");
}

void line_begin(struct render *render, const json_t *event, struct buf *out)
{
    char time[FORMAT_SIZE] = "?", day[FORMAT_SIZE] = "";
    render_flush(render, out);
    int64_t when = field_time(event, "ts");
    if (when >= 0) {
        format_time(when, time);
        format_date(when, day);
        if (strcmp(day, render->day) != 0) {
            style_append(out, render->color, STYLE_DIM, day);
            buf_append_char(out, '\n');
            snprintf(render->day, sizeof render->day, "%s", day);
        }
    }
    style_append(out, render->color, STYLE_DIM, time);
    pad(out, GUTTER - strlen(time));
    render->command[0] = '\0';
}

void line_add(struct render *render, const json_t *event, size_t indent, enum style style,
              const char *text, struct buf *out)
{
    line_begin(render, event, out);
    pad(out, indent);
    style_append(out, render->color, style, text);
    buf_append_char(out, '\n');
}

void lines_add(struct render *render, const json_t *event, enum style style, const char *label,
               const char *text, struct buf *out)
{
    AUTO_FREE char *clean = text_clean(text);
    size_t indent = 2 + strlen(label);
    line_begin(render, event, out);
    buf_appendf(out, "  %s", label);
    const char *line = clean;
    for (bool first = true; first || *line; first = false) {
        size_t len = strcspn(line, "\n");
        AUTO_FREE char *one = str_format("%.*s", (int)len, line);
        if (!first && len)
            pad(out, GUTTER + indent);
        style_append(out, render->color && len, style, one);
        buf_append_char(out, '\n');
        line += line[len] ? len + 1 : len;
    }
}

/* Where the last COUNT lines of TEXT begin. */
static const char *last_lines(const char *text, size_t count)
{
    const char *p = text + strlen(text);
    if (p > text && p[-1] == '\n')
        p--;
    while (p > text && (p[-1] != '\n' || --count > 0))
        p--;
    return p;
}

static void bar(struct render *render, struct buf *out)
{
    pad(out, GUTTER);
    style_append(out, render->color, STYLE_DIM, "| ");
}

void output_add(struct render *render, const char *text, size_t lines_max, struct buf *out)
{
    AUTO_FREE char *clean = text_clean(text);
    const char *line = lines_max ? last_lines(clean, lines_max) : clean;
    if (line > clean) {
        bar(render, out);
        buf_append_str(out, "...\n");
    }
    while (*line) {
        size_t len = strcspn(line, "\n");
        bar(render, out);
        buf_append(out, line, len);
        buf_append_char(out, '\n');
        line += line[len] ? len + 1 : len;
    }
}

void render_flush(struct render *render, struct buf *out)
{
    if (!render->partial.len)
        return;
    output_add(render, render->partial.data, 0, out);
    buf_clear(&render->partial);
}
