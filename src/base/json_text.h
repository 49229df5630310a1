/*
 * JSON as text: writing it straight into a buffer, for what is written often (events, the journal,
 * the serialised conversation) and by programs that parse none (the runner); and finding the raw
 * bytes of a value, to pass it on unchanged. Parsing is jansson's.
 */
#ifndef CODEX_BASE_JSON_TEXT_H
#define CODEX_BASE_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* A JSON string with its quotes. Malformed UTF-8 and NUL become U+FFFD, so that every consumer can
 * parse it. Negative when OUT is full; OUT then holds a part of it, for the caller to discard. */
int json_text_string(struct buf *out, const char *bytes, size_t len);
int json_text_cstring(struct buf *out, const char *s); /* NULL becomes null */

/* Bytes within a JSON text. */
struct json_span {
    const char *at;
    size_t len;
};

/* The value of the first member NAME of the object OBJECT: its bytes, without white space around
 * them. OBJECT is one that jansson has parsed: of anything else the answer is undefined, but never
 * outside its bytes. NAME is found only where it is written without escapes. */
bool json_text_member(struct json_span object, const char *name, struct json_span *value);

/* The elements of the array ARRAY, one a call, *OFFSET 0 at first; false at the end. As above. */
bool json_text_element(struct json_span array, size_t *offset, struct json_span *value);

#endif
