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

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t skip_space(struct json_span text, size_t i)
{
    while (i < text.len && is_space(text.at[i]))
        i++;
    return i;
}

/* The offset behind the string that starts at I. */
static size_t skip_string(struct json_span text, size_t i)
{
    for (i++; i < text.len && text.at[i] != '"'; i++)
        if (text.at[i] == '\\')
            i++;
    return i < text.len ? i + 1 : text.len;
}

/* The offset behind the object or array that starts at I. */
static size_t skip_nested(struct json_span text, size_t i)
{
    size_t depth = 0;
    do {
        char c = text.at[i];
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        i = c == '"' ? skip_string(text, i) : i + 1;
    } while (depth && i < text.len);
    return i;
}

static size_t skip_value(struct json_span text, size_t i)
{
    if (i >= text.len)
        return i;
    if (text.at[i] == '"')
        return skip_string(text, i);
    if (text.at[i] == '{' || text.at[i] == '[')
        return skip_nested(text, i);
    while (i < text.len && !is_space(text.at[i]) && !strchr(",]}", text.at[i]))
        i++;
    return i;
}

/* The value at or after I; returns the offset of what follows it. */
static size_t take_value(struct json_span text, size_t i, struct json_span *value)
{
    i = skip_space(text, i);
    size_t end = skip_value(text, i);
    *value = (struct json_span){text.at + i, end - i};
    return skip_space(text, end);
}

bool json_text_member(struct json_span object, const char *name, struct json_span *value)
{
    size_t name_len = strlen(name);
    size_t i = skip_space(object, 0) + 1; /* behind the brace */
    for (;;) {
        i = skip_space(object, i);
        if (i >= object.len || object.at[i] != '"')
            return false;
        size_t key = i + 1;
        i = skip_string(object, i);
        bool found = i - key == name_len + 1 && !memcmp(object.at + key, name, name_len);
        i = skip_space(object, i) + 1; /* behind the colon */
        if (i >= object.len)
            return false;
        i = take_value(object, i, value) + 1; /* behind the comma */
        if (found)
            return true;
    }
}

bool json_text_element(struct json_span array, size_t *offset, struct json_span *value)
{
    size_t i = *offset ? *offset : skip_space(array, 0) + 1; /* behind the bracket or comma */
    i = skip_space(array, i);
    if (i >= array.len || array.at[i] == ']')
        return false;
    *offset = take_value(array, i, value) + 1;
    return true;
}
