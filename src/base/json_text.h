/*
 * Writing JSON as text, straight into a buffer: for what is written often (events, the journal, the
 * serialised conversation) and by programs that parse none (the runner). Parsing is jansson's.
 */
#ifndef CODEX_BASE_JSON_TEXT_H
#define CODEX_BASE_JSON_TEXT_H

#include "base/buf.h"

/* A JSON string with its quotes. Malformed UTF-8 and NUL become U+FFFD, so that every consumer can
 * parse it. Negative when OUT is full; OUT then holds a part of it, for the caller to discard. */
int json_text_string(struct buf *out, const char *bytes, size_t len);
int json_text_cstring(struct buf *out, const char *s); /* NULL becomes null */

#endif
