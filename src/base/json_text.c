#include "base/json_text.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

/* The escape of C within a JSON string, or NULL where the byte stands for itself. */
static const char *escape(unsigned char c, char room[8])
{
    static const char hex[] = "0123456789abcdef";
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    }
    if (c >= 0x20 && c != 0x7f)
        return NULL;
    memcpy(room, "\\u00", 4);
    room[4] = hex[c >> 4];
    room[5] = hex[c & 15];
    room[6] = '\0';
    return room;
}

static int append_escaped(struct buf *out, const char *bytes, size_t len)
{
    size_t plain = 0; /* start of the bytes not yet copied */
    char room[8];
    for (size_t i = 0; i < len; i++) {
        const char *escaped = escape((unsigned char)bytes[i], room);
        if (!escaped)
            continue;
        if (buf_append(out, bytes + plain, i - plain) < 0 || buf_append_str(out, escaped) < 0)
            return -ERANGE;
        plain = i + 1;
    }
    return buf_append(out, bytes + plain, len - plain);
}

int json_text_string(struct buf *out, const char *bytes, size_t len)
{
    /* A malformed byte becomes three: room for the worst. */
    AUTO_BUF struct buf clean;
    buf_init(&clean, len * 3);
    str_append_utf8(&clean, bytes, len);
    if (buf_append_char(out, '"') < 0 || append_escaped(out, clean.data, clean.len) < 0)
        return -ERANGE;
    return buf_append_char(out, '"');
}

int json_text_cstring(struct buf *out, const char *s)
{
    return s ? json_text_string(out, s, strlen(s)) : buf_append_str(out, "null");
}
