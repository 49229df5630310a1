/* JSON objects from the sandbox: parsed within bounds, and written again by us. */
#ifndef CODEX_GATEWAY_OUTSIDE_JSON_H
#define CODEX_GATEWAY_OUTSIDE_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "base/buf.h"

/* Every value of the parsed form takes up to some hundred bytes, also where it is written in
 * two. */
enum { OUTSIDE_DEPTH_MAX = 32, OUTSIDE_VALUES_MAX = 20000 };

/* Parse LEN bytes as one JSON object: within the bounds above, no NUL in it, no member twice. NULL
 * when it is none; else the caller releases it. */
json_t *outside_object(const char *bytes, size_t len);

/* Append VALUE as text. */
void outside_append(struct buf *out, const json_t *value);

#endif
