#include "agent/tools/patch_match.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

/* The file as lines: each begins at starts[i] and ends, with its ending, at starts[i + 1]. */
struct file {
    struct slice bytes;
    uint32_t *starts;
    size_t count;
    char separator;     /* '\n'; '\r' in a file that has only those */
    const char *ending; /* of new lines */
};

/* A chunk that has found its place. */
struct placed {
    const struct patch_chunk *chunk;
    size_t at; /* line of the file */
    /* How many of the chunk's old and new lines take part: one of each may be the empty "line"
     * behind the file's last line ending. */
    size_t old_count, new_count;
};

static void split_lines(struct file *file, struct slice bytes)
{
    const char *newline = bytes.len ? memchr(bytes.at, '\n', bytes.len) : NULL;
    const char *end = bytes.at + bytes.len;
    *file = (struct file){.bytes = bytes, .separator = '\n', .ending = "\n"};
    if (newline && newline > bytes.at && newline[-1] == '\r')
        file->ending = "\r\n";
    if (!newline && bytes.len && memchr(bytes.at, '\r', bytes.len)) {
        file->separator = '\r';
        file->ending = "\r";
    }
    size_t room = 2;
    for (const char *p = bytes.at; p < end && (p = memchr(p, file->separator, (size_t)(end - p)));
         p++)
        room++;
    file->starts = malloc(room * sizeof *file->starts);
    if (!file->starts)
        abort();
    for (const char *p = bytes.at; p < end; file->count++) {
        file->starts[file->count] = (uint32_t)(p - bytes.at);
        const char *separator = memchr(p, file->separator, (size_t)(end - p));
        p = separator ? separator + 1 : end;
    }
    file->starts[file->count] = (uint32_t)bytes.len;
}

/* Line I with its ending. */
static struct slice raw_line(const struct file *file, size_t i)
{
    return (struct slice){file->bytes.at + file->starts[i], file->starts[i + 1] - file->starts[i]};
}

static bool is_terminated(const struct file *file, struct slice raw)
{
    return raw.len && raw.at[raw.len - 1] == file->separator;
}

static struct slice line_text(const struct file *file, size_t i)
{
    struct slice line = raw_line(file, i);
    if (!is_terminated(file, line))
        return line;
    line.len--;
    if (file->separator == '\n' && line.len && line.at[line.len - 1] == '\r')
        line.len--;
    return line;
}

/* The first COUNT old lines of CHUNK are at line AT of the file. */
static bool matches(const struct patch *patch, const struct patch_chunk *chunk, size_t count,
                    const struct file *file, size_t at, enum patch_likeness likeness)
{
    const struct patch_line *line = &patch->lines[chunk->first_line];
    for (size_t i = 0; i < count; line++) {
        if (line->sign == '+')
            continue;
        if (!slice_alike(line_text(file, at + i), line->text, likeness))
            return false;
        i++;
    }
    return true;
}

/* Find the first COUNT old lines of CHUNK at or behind line FROM. */
static bool find_old_lines(const struct patch *patch, const struct patch_chunk *chunk, size_t count,
                           const struct file *file, size_t from, size_t *found)
{
    if (count > file->count)
        return false;
    size_t last = file->count - count;
    if (chunk->at_end_of_file && count && from < last)
        from = last;
    for (int likeness = PATCH_EXACT; likeness < PATCH_LIKENESS_COUNT; likeness++)
        for (size_t at = from; at <= last; at++)
            if (matches(patch, chunk, count, file, at, (enum patch_likeness)likeness)) {
                *found = at;
                return true;
            }
    return false;
}

static bool find_context(const struct file *file, struct slice context, size_t from, size_t *found)
{
    for (int likeness = PATCH_EXACT; likeness < PATCH_LIKENESS_COUNT; likeness++)
        for (size_t at = from; at < file->count; at++)
            if (slice_alike(line_text(file, at), context, (enum patch_likeness)likeness)) {
                *found = at;
                return true;
            }
    return false;
}

/* The last line of CHUNK that is not SIGN is an empty one. */
static bool ends_empty(const struct patch *patch, const struct patch_chunk *chunk, char sign)
{
    const struct patch_line *lines = &patch->lines[chunk->first_line];
    for (size_t i = chunk->line_count; i-- > 0;)
        if (lines[i].sign != sign)
            return lines[i].text.len == 0;
    return false;
}

static size_t count_new_lines(const struct patch *patch, const struct patch_chunk *chunk)
{
    size_t count = 0;
    for (size_t i = 0; i < chunk->line_count; i++)
        count += patch->lines[chunk->first_line + i].sign != '-';
    return count;
}

static int no_context(struct buf *message, struct slice context, const char *name)
{
    size_t room = message->max / 2;
    buf_append_str(message, "Failed to find context '");
    buf_append(message, context.at, context.len < room ? context.len : room);
    buf_appendf(message, "' in %s", name);
    return ERR_NOT_FOUND;
}

static int no_old_lines(const struct patch *patch, const struct patch_chunk *chunk,
                        const char *name, struct buf *message)
{
    buf_appendf(message, "Failed to find expected lines in %s:", name);
    for (size_t i = 0; i < chunk->line_count; i++) {
        const struct patch_line *line = &patch->lines[chunk->first_line + i];
        if (line->sign == '+')
            continue;
        if (buf_append_char(message, '\n') < 0 ||
            buf_append(message, line->text.at, line->text.len) < 0)
            break;
    }
    return ERR_NOT_FOUND;
}

/* Find CHUNK's place at or behind line *FROM, and move *FROM behind it. */
static int place_chunk(const struct patch *patch, const struct patch_chunk *chunk,
                       const struct file *file, size_t *from, struct placed *placed)
{
    *placed = (struct placed){.chunk = chunk,
                              .at = file->count,
                              .old_count = chunk->old_count,
                              .new_count = count_new_lines(patch, chunk)};
    if (chunk->old_count == 0)
        return 0;
    bool found = find_old_lines(patch, chunk, placed->old_count, file, *from, &placed->at);
    /* Models end a chunk with the empty string behind the file's last line ending: do without. */
    if (!found && ends_empty(patch, chunk, '+')) {
        placed->old_count--;
        placed->new_count -= placed->new_count && ends_empty(patch, chunk, '-');
        found = find_old_lines(patch, chunk, placed->old_count, file, *from, &placed->at);
    }
    if (!found)
        return ERR_NOT_FOUND;
    *from = placed->at + placed->old_count;
    return 0;
}

static int append_line(const struct file *file, struct slice text, struct buf *out)
{
    int status = buf_append(out, text.at, text.len);
    return status < 0 ? status : buf_append_str(out, file->ending);
}

/* Lines FROM to TO of the file, the last one with an ending in any case. */
static int copy_lines(const struct file *file, size_t from, size_t to, struct buf *out)
{
    if (from >= to)
        return 0;
    size_t start = file->starts[from];
    int status = buf_append(out, file->bytes.at + start, file->starts[to] - start);
    if (status < 0 || is_terminated(file, raw_line(file, to - 1)))
        return status;
    return buf_append_str(out, file->ending);
}

/* What stands in the chunk's place: its context as the file has it, and its new lines. */
static int append_chunk(const struct patch *patch, const struct placed *placed,
                        const struct file *file, struct buf *out)
{
    size_t old = 0, new = 0;
    for (size_t i = 0; i < placed->chunk->line_count; i++) {
        const struct patch_line *line = &patch->lines[placed->chunk->first_line + i];
        bool in_old = line->sign != '+' && old < placed->old_count;
        bool in_new = line->sign != '-' && new < placed->new_count;
        int status = 0;
        if (in_old && in_new)
            status = copy_lines(file, placed->at + old, placed->at + old + 1, out);
        else if (in_new)
            status = append_line(file, line->text, out);
        if (status < 0)
            return status;
        old += in_old;
        new += in_new;
    }
    return 0;
}

/* The chunks that go behind the last line, in their order, after all others are done. */
static int append_ends(const struct patch *patch, const struct placed *placed, size_t count,
                       const struct file *file, struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        if (placed[i].at < file->count)
            continue;
        int status = append_chunk(patch, &placed[i], file, out);
        if (status < 0)
            return status;
    }
    return 0;
}

static int rewrite(const struct patch *patch, const struct placed *placed, size_t count,
                   const struct file *file, struct buf *out)
{
    size_t done = 0;
    int status = 0;
    for (size_t i = 0; i < count && status >= 0; i++) {
        if (placed[i].at >= file->count)
            continue;
        status = copy_lines(file, done, placed[i].at, out);
        if (status >= 0)
            status = append_chunk(patch, &placed[i], file, out);
        done = placed[i].at + placed[i].old_count;
    }
    if (status >= 0)
        status = copy_lines(file, done, file->count, out);
    if (status >= 0)
        status = append_ends(patch, placed, count, file, out);
    return status < 0 ? ERR_LIMIT : 0;
}

static int place_all(const struct patch *patch, const struct patch_op *op, const struct file *file,
                     const char *name, struct placed *placed, struct buf *message)
{
    size_t from = 0;
    for (size_t i = 0; i < op->chunk_count; i++) {
        const struct patch_chunk *chunk = &patch->chunks[op->first_chunk + i];
        if (chunk->context.at) {
            if (!find_context(file, chunk->context, from, &from))
                return no_context(message, chunk->context, name);
            from++;
        }
        if (place_chunk(patch, chunk, file, &from, &placed[i]) < 0)
            return no_old_lines(patch, chunk, name, message);
    }
    return 0;
}

int patch_update(const struct patch *patch, const struct patch_op *op, struct slice before,
                 const char *name, struct buf *out, struct buf *message)
{
    struct file file;
    split_lines(&file, before);
    struct placed *placed = calloc(op->chunk_count ? op->chunk_count : 1, sizeof *placed);
    if (!placed)
        abort();
    buf_clear(message);
    int status = place_all(patch, op, &file, name, placed, message);
    if (status == 0)
        status = rewrite(patch, placed, op->chunk_count, &file, out);
    if (status == ERR_LIMIT)
        buf_appendf(message, "%s would be too large", name);
    free(placed);
    free(file.starts);
    return status;
}
