/*
 * Reading JSON (RFC 8259) strictly while it passes, in pieces of any size and in a fixed amount of
 * memory: for bodies that the gateway streams and must not hold. Whoever uses it is called for each
 * token; where in the document a token is, it keeps track of itself, by `depth`.
 *
 * Strict means that what passes here has one reading only, whichever parser comes next: the grammar
 * to the letter, valid UTF-8, nothing behind the value.
 */
#ifndef CODEX_GATEWAY_JSON_SCAN_H
#define CODEX_GATEWAY_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    JSON_SCAN_DEPTH_MAX = 128,
    JSON_SCAN_TEXT_MAX = 256, /* bytes kept of a key, string or number */
};

enum json_token {
    JSON_TOKEN_OBJECT,
    JSON_TOKEN_OBJECT_END,
    JSON_TOKEN_ARRAY,
    JSON_TOKEN_ARRAY_END,
    JSON_TOKEN_KEY,
    JSON_TOKEN_STRING,
    JSON_TOKEN_NUMBER,
    JSON_TOKEN_TRUE,
    JSON_TOKEN_FALSE,
    JSON_TOKEN_NULL,
};

struct json_scan {
    unsigned depth; /* objects and arrays around the token */
    /* Of a key, string or number: the bytes as they stand in the source, escapes unread, cut at
     * JSON_SCAN_TEXT_MAX (text_len is the true length), NUL-terminated. */
    char text[JSON_SCAN_TEXT_MAX + 1];
    size_t text_len;
    bool plain; /* ASCII without an escape: `text` is the value, unless it was cut */

    /* private */
    int state, number;
    bool is_key;
    const char *literal; /* what is still to come of true, false or null */
    unsigned unicode_left;
    unsigned utf8_left;
    unsigned char utf8_low, utf8_high;
    uint64_t is_object[JSON_SCAN_DEPTH_MAX / 64];
};

/* A negative return stops the scan and is returned by it. */
typedef int json_scan_fn(void *arg, const struct json_scan *scan, enum json_token token);

void json_scan_init(struct json_scan *scan);

/* Returns 0, ERR_PROTOCOL with what is wrong, or what FN returned. Not to be called again after a
 * negative return. */
int json_scan_feed(struct json_scan *scan, const char *bytes, size_t len, json_scan_fn *fn,
                   void *arg, struct err *err);

/* The document has ended. ERR_PROTOCOL when it is not whole. */
int json_scan_end(struct json_scan *scan, json_scan_fn *fn, void *arg, struct err *err);

/* The token's text is exactly S, written without escapes. */
bool json_scan_is(const struct json_scan *scan, const char *s);

/* The token's text as an integer in [0, MAX]; -1 when it is none. */
int64_t json_scan_integer(const struct json_scan *scan, int64_t max);

#endif
