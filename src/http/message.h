/*
 * HTTP/1.1 message heads and body framing, as in RFC 9112, read strictly: what is ambiguous is an
 * error, never a guess (bare CR, folded lines, two lengths, a length beside an encoding).
 */
#ifndef CODEX_HTTP_MESSAGE_H
#define CODEX_HTTP_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    HTTP_HEAD_MAX = 32768, /* bytes of a head, both ours and the peer's */
    HTTP_HEADERS_MAX = 100,
};

enum http_kind { HTTP_REQUEST, HTTP_RESPONSE };

struct http_header {
    const char *name; /* as sent; compare without regard to case */
    const char *value;
};

struct http_head {
    const char *method, *target; /* of a request */
    int status;                  /* of a response, 100…599 */
    const char *reason;          /* of a response: the words behind it, maybe "" */
    int minor_version;           /* HTTP/1.<this>: 0 or 1 */
    struct http_header headers[HTTP_HEADERS_MAX];
    size_t headers_count;
    char *bytes; /* owned: what the pointers point into */
};

/* Parse a head from the front of BYTES. Returns its length, 0 while it is incomplete, or
 * ERR_PROTOCOL. HEAD is zeroed first; after a positive return the caller releases it. */
int http_head_parse(struct http_head *head, enum http_kind kind, const char *bytes, size_t len,
                    struct err *err);
void http_head_release(struct http_head *head);

/* The value of the first header NAME, or NULL. */
const char *http_head_get(const struct http_head *head, const char *name);

enum http_framing {
    HTTP_BODY_NONE,
    HTTP_BODY_LENGTH,
    HTTP_BODY_CHUNKED,
    HTTP_BODY_UNTIL_CLOSE, /* responses only */
};

/* Where a body is in its stream of bytes. */
struct http_body {
    enum http_framing framing;
    uint64_t left; /* bytes of the body, or of the chunk, still to come */
    int state;     /* of the chunk reader; private */
    unsigned line; /* bytes of the current chunk-size or trailer line; private */
    bool done;
};

/* Find out how the body of HEAD is framed; a 1xx, 204 or 304 has none. ERR_PROTOCOL for what
 * RFC 9112 section 6.3 calls an error. */
int http_body_init(struct http_body *body, enum http_kind kind, const struct http_head *head,
                   struct err *err);

/*
 * Take the next piece of a body from the LEN bytes at IN: *USED of them are consumed, of which
 * *DATA_LEN at *DATA (possibly 0) are content. Call again with the rest until all is used or
 * body->done. Returns 0 or ERR_PROTOCOL.
 */
int http_body_feed(struct http_body *body, const char *in, size_t len, size_t *used,
                   const char **data, size_t *data_len, struct err *err);

/* The stream has ended: 0 when the body was whole, else ERR_PROTOCOL. */
int http_body_eof(struct http_body *body, struct err *err);

#endif
