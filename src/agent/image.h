/*
 * Images in a conversation: what they are, how a wire writes them, and how they are left out again.
 */
#ifndef CODEX_AGENT_IMAGE_H
#define CODEX_AGENT_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/json_text.h"

enum {
    /* 5 MiB in base64: Anthropic takes no larger one, the others do. */
    IMAGE_MAX_BYTES = (5 << 20) / 4 * 3,
};

struct image {
    const char *media_type; /* static */
    const char *base64;
    size_t base64_len;
};

/* By its first bytes: "image/png", "image/jpeg", "image/gif" or "image/webp"; NULL: none of them. */
const char *image_media_type(const void *bytes, size_t len);

/* Append BYTES in base64 (RFC 4648, section 4). -ERANGE when OUT is full. */
int image_base64(struct buf *out, const void *bytes, size_t len);

/* A wire's part of a message that is an image: `open` its media type `middle` its base64 `close`.
 * And one that is a text: `text_open`, a JSON string, '}'. */
struct image_form {
    const char *open, *middle, *close;
    const char *text_open;
};

int image_append(struct buf *out, const struct image_form *form, const struct image *image);

/* The first image in TEXT, which is JSON, at *OFFSET or behind it; then *OFFSET is behind it. False
 * when there is none. Within a JSON string no image is found: its quotes are escaped there. */
bool image_next(struct json_span text, const struct image_form *form, size_t *offset,
                struct json_span *image);

/* How many there are in TEXT, and in how many bytes (added to *BYTES). */
size_t image_count(struct json_span text, const struct image_form *form, size_t *bytes);

/* TEXT into OUT, with NOTE in the place of the first COUNT images. False: there was none, or OUT is
 * full. */
bool image_leave_out(struct json_span text, const struct image_form *form, size_t count,
                     const char *note, struct buf *out);

#endif
