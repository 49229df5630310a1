/*
 * What a command has printed, as far as it is kept: its first and its last bytes. A flood costs
 * time, never more memory.
 */
#ifndef CODEX_AGENT_TOOLS_OUTPUT_H
#define CODEX_AGENT_TOOLS_OUTPUT_H

#include <stdint.h>

#include "base/buf.h"

enum { OUTPUT_BYTES_PER_TOKEN = 4 }; /* the usual estimate for a model's tokens */

struct output {
    size_t half;     /* bytes kept at each end */
    struct buf head; /* the first ones */
    char *tail;      /* a ring of `half` bytes with the last ones; NULL while the head has room */
    size_t tail_start, tail_len;
    uint64_t total; /* bytes that came */
};

/* Keep at most MAX_BYTES; memory is taken as it is needed. */
void output_init(struct output *output, size_t max_bytes);
void output_release(struct output *output); /* leaves it initialised and empty */

void output_append(struct output *output, const char *bytes, size_t len);

/* About how many tokens all of it is, what was not kept included. */
uint64_t output_tokens(const struct output *output);

/* Append to OUT the text for a model, at most about MAX_TOKENS: of a longer one head and tail, and
 * "…N tokens truncated…" between them. */
void output_text(const struct output *output, uint64_t max_tokens, struct buf *out);

#endif
