#include "agent/image.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static bool starts(const void *bytes, size_t len, const char *magic, size_t magic_len)
{
    return len >= magic_len && !memcmp(bytes, magic, magic_len);
}

const char *image_media_type(const void *bytes, size_t len)
{
    const char *at = bytes;
    if (starts(at, len, "\x89PNG\r\n\x1a\n", 8))
        return "image/png";
    if (starts(at, len, "\xff\xd8\xff", 3))
        return "image/jpeg";
    if (starts(at, len, "GIF87a", 6) || starts(at, len, "GIF89a", 6))
        return "image/gif";
    /* A RIFF container; its length stands between. */
    if (starts(at, len, "RIFF", 4) && len > 8 && starts(at + 8, len - 8, "WEBP", 4))
        return "image/webp";
    return NULL;
}

int image_base64(struct buf *out, const void *bytes, size_t len)
{
    const uint8_t *from = bytes;
    size_t coded = (len + 2) / 3 * 4;
    char *to = buf_reserve(out, coded);
    if (!to)
        return -ERANGE;
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t group = (uint32_t)from[i] << 16 | (left > 1 ? from[i + 1] << 8 : 0) |
                         (left > 2 ? from[i + 2] : 0);
        *to++ = alphabet[group >> 18];
        *to++ = alphabet[group >> 12 & 63];
        *to++ = left > 1 ? alphabet[group >> 6 & 63] : '=';
        *to++ = left > 2 ? alphabet[group & 63] : '=';
    }
    buf_wrote(out, coded);
    return 0;
}

int image_append(struct buf *out, const struct image_form *form, const struct image *image)
{
    if (buf_append_str(out, form->open) < 0 || buf_append_str(out, image->media_type) < 0 ||
        buf_append_str(out, form->middle) < 0 ||
        buf_append(out, image->base64, image->base64_len) < 0)
        return -ERANGE;
    return buf_append_str(out, form->close);
}

/* *AT moves behind S, if that is what TEXT has there. */
static bool skip(struct json_span text, size_t *at, const char *s)
{
    size_t len = strlen(s);
    if (text.len - *at < len || memcmp(text.at + *at, s, len) != 0)
        return false;
    *at += len;
    return true;
}

static bool is_base64(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/' || c == '=';
}

/* The end of the image that begins at START, or 0. Exactly of the form, so that what is taken for
 * one is a whole value, whoever wrote it. */
static size_t image_end(struct json_span text, const struct image_form *form, size_t start)
{
    size_t at = start;
    if (!skip(text, &at, form->open) || !skip(text, &at, "image/"))
        return 0;
    while (at < text.len && text.at[at] >= 'a' && text.at[at] <= 'z')
        at++;
    if (!skip(text, &at, form->middle))
        return 0;
    while (at < text.len && is_base64(text.at[at]))
        at++;
    return skip(text, &at, form->close) ? at : 0;
}

bool image_next(struct json_span text, const struct image_form *form, size_t *offset,
                struct json_span *image)
{
    size_t open_len = strlen(form->open);
    for (size_t at = *offset; at < text.len;) {
        const char *found = memmem(text.at + at, text.len - at, form->open, open_len);
        if (!found)
            return false;
        at = (size_t)(found - text.at);
        size_t end = image_end(text, form, at);
        if (end) {
            *image = (struct json_span){found, end - at};
            *offset = end;
            return true;
        }
        at += open_len;
    }
    return false;
}

size_t image_count(struct json_span text, const struct image_form *form, size_t *bytes)
{
    size_t count = 0, offset = 0;
    struct json_span image;
    for (; image_next(text, form, &offset, &image); count++)
        *bytes += image.len;
    return count;
}

bool image_leave_out(struct json_span text, const struct image_form *form, size_t count,
                     const char *note, struct buf *out)
{
    size_t offset = 0, done = 0;
    struct json_span image;
    buf_clear(out);
    for (; count && image_next(text, form, &offset, &image); count--) {
        size_t start = (size_t)(image.at - text.at);
        if (buf_append(out, text.at + done, start - done) < 0 ||
            buf_append_str(out, form->text_open) < 0 || json_text_cstring(out, note) < 0 ||
            buf_append_char(out, '}') < 0)
            return false;
        done = offset;
    }
    return done && buf_append(out, text.at + done, text.len - done) == 0;
}
