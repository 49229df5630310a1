#include "agent/tools/output.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

void output_init(struct output *output, size_t max_bytes)
{
    *output = (struct output){.half = max_bytes / 2};
    buf_init(&output->head, output->half);
}

void output_release(struct output *output)
{
    size_t half = output->half;
    buf_release(&output->head);
    free(output->tail);
    output_init(output, 2 * half);
}

/* LEN bytes, at most `half`, into the ring. */
static void append_to_ring(struct output *output, const char *bytes, size_t len)
{
    size_t end = (output->tail_start + output->tail_len) % output->half;
    size_t first = len < output->half - end ? len : output->half - end;
    memcpy(output->tail + end, bytes, first);
    memcpy(output->tail, bytes + first, len - first);
    output->tail_len += len;
    if (output->tail_len > output->half) {
        output->tail_start = (output->tail_start + output->tail_len) % output->half;
        output->tail_len = output->half;
    }
}

void output_append(struct output *output, const char *bytes, size_t len)
{
    output->total += len;
    size_t room = output->half - output->head.len;
    size_t fits = len < room ? len : room;
    buf_append(&output->head, bytes, fits);
    bytes += fits;
    len -= fits;
    if (len == 0)
        return;
    if (!output->tail && !(output->tail = malloc(output->half)))
        abort();
    if (len > output->half) {
        bytes += len - output->half;
        len = output->half;
    }
    append_to_ring(output, bytes, len);
}

uint64_t output_tokens(const struct output *output)
{
    return (output->total + OUTPUT_BYTES_PER_TOKEN - 1) / OUTPUT_BYTES_PER_TOKEN;
}

static bool continues_character(char byte)
{
    return (byte & 0xc0) == 0x80;
}

/* The first COUNT bytes, without a part of a character at their end. */
static size_t append_first(const struct output *output, size_t count, struct buf *out)
{
    const char *data = output->head.data;
    if (count > output->head.len)
        count = output->head.len;
    for (int i = 0; i < 3 && count && count < output->head.len && continues_character(data[count]);
         i++)
        count--;
    buf_append(out, data, count);
    return count;
}

/* Byte I of what is kept. */
static char kept_byte(const struct output *output, size_t i)
{
    if (i < output->head.len)
        return output->head.data[i];
    return output->tail[(output->tail_start + i - output->head.len) % output->half];
}

static void append_kept(const struct output *output, size_t from, struct buf *out)
{
    if (from < output->head.len) {
        buf_append(out, output->head.data + from, output->head.len - from);
        from = output->head.len;
    }
    size_t skip = from - output->head.len;
    if (skip >= output->tail_len)
        return;
    size_t start = (output->tail_start + skip) % output->half;
    size_t len = output->tail_len - skip;
    size_t first = len < output->half - start ? len : output->half - start;
    buf_append(out, output->tail + start, first);
    buf_append(out, output->tail, len - first);
}

/* The last COUNT bytes, without a part of a character at their beginning. */
static size_t append_last(const struct output *output, size_t count, struct buf *out)
{
    size_t kept = output->head.len + output->tail_len;
    size_t from = count < kept ? kept - count : 0;
    for (int i = 0; i < 3 && from && from < kept && continues_character(kept_byte(output, from));
         i++)
        from++;
    append_kept(output, from, out);
    return kept - from;
}

void output_text(const struct output *output, uint64_t max_tokens, struct buf *out)
{
    size_t kept = output->head.len + output->tail_len;
    uint64_t budget = max_tokens * OUTPUT_BYTES_PER_TOKEN;
    if (output->total == kept && kept <= budget) {
        append_kept(output, 0, out);
        return;
    }
    size_t half = budget / 2 < output->half ? (size_t)(budget / 2) : output->half;
    AUTO_BUF struct buf last;
    buf_init(&last, half);
    size_t shown = append_last(output, half, &last);
    shown += append_first(output, half, out);
    buf_appendf(out, "…%llu tokens truncated…",
                (unsigned long long)((output->total - shown + OUTPUT_BYTES_PER_TOKEN - 1) /
                                     OUTPUT_BYTES_PER_TOKEN));
    buf_append(out, last.data, last.len);
}
