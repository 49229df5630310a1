/*
 * What a request to the proxy asks for, and the head that is sent on instead of its own. Nothing of
 * the client's head is passed through as bytes: both heads are written anew from what was parsed, so
 * that there is one reading of them.
 */
#ifndef CODEX_GATEWAY_EGRESS_TARGET_H
#define CODEX_GATEWAY_EGRESS_TARGET_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/net_host.h"
#include "http/message.h"

struct target {
    bool is_tunnel; /* CONNECT */
    struct net_host host;
    uint16_t port;
    const char *path; /* of a plain request; points into the head that was parsed */
};

/* Returns 0, or the status to refuse it with (400, 501), and ERR saying what to do. */
int target_read(struct target *target, const struct http_head *head, struct err *err);

/* More than any head that was parsed becomes when it is written anew. */
enum { TARGET_HEAD_MAX = HTTP_HEAD_MAX + HTTP_HEADERS_MAX + 1024 };

/* Append the head of the plain request as it goes to the host. BODY is how its body is framed. OUT
 * has room for TARGET_HEAD_MAX bytes. */
void target_write_request(const struct target *target, const struct http_head *head,
                          const struct http_body *body, struct buf *out);

/* Append the head of the host's answer as it goes to the client, who is told that the connection
 * ends with it. OUT as above. */
void target_write_response(const struct http_head *head, struct buf *out);

#endif
