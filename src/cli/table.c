#include "cli/table.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/text.h"

enum { GAP = 2, LAST_COLUMN_MIN = 8 };

void table_init(struct table *table, size_t columns, const char *const *header)
{
    if (columns == 0 || columns > TABLE_COLUMNS_MAX)
        abort();
    *table = (struct table){.columns = columns};
    for (size_t i = 0; header && i < columns; i++)
        table_add(table, STYLE_BOLD, header[i]);
}

void table_release(struct table *table)
{
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i].text);
    free(table->cells);
    *table = (struct table){.columns = table->columns};
}

void table_add(struct table *table, enum style style, const char *text)
{
    if (table->count == table->capacity) {
        table->capacity = table->capacity ? table->capacity * 2 : 64;
        table->cells = reallocarray(table->cells, table->capacity, sizeof *table->cells);
        if (!table->cells)
            abort();
    }
    table->cells[table->count++] =
        (struct table_cell){.text = text_clean(text ? text : "-"), .style = style};
}

static size_t cell_width(const struct table_cell *cell)
{
    return text_width(cell->text, strcspn(cell->text, "\n"));
}

static void measure(const struct table *table, size_t *widths)
{
    for (size_t i = 0; i < table->count; i++) {
        size_t *widest = &widths[i % table->columns];
        size_t width = cell_width(&table->cells[i]);
        if (width > *widest)
            *widest = width;
    }
}

/* What is left of WIDTH for the last column. */
static size_t last_width(const struct table *table, const size_t *widths, size_t width)
{
    if (width == SIZE_MAX)
        return SIZE_MAX;
    size_t before = 0;
    for (size_t i = 0; i + 1 < table->columns; i++)
        before += widths[i] + GAP;
    return width > before + LAST_COLUMN_MIN ? width - before : LAST_COLUMN_MIN;
}

void table_append(const struct table *table, size_t width, bool color, struct buf *out)
{
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    measure(table, widths);
    size_t last = last_width(table, widths, width);
    for (size_t i = 0; i < table->count; i++) {
        const struct table_cell *cell = &table->cells[i];
        bool is_last = i % table->columns == table->columns - 1;
        style_begin(out, color, cell->style);
        text_append_cut(out, cell->text, is_last ? last : widths[i % table->columns]);
        style_end(out, color, cell->style);
        if (is_last)
            buf_append_char(out, '\n');
        else
            for (size_t pad = cell_width(cell); pad < widths[i % table->columns] + GAP; pad++)
                buf_append_char(out, ' ');
    }
}
