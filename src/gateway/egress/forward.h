/*
 * A plain request on its way to a host, and the answer on its way back: where the bodies end, and
 * what of the heads goes on. Both are filters of flow.h.
 */
#ifndef CODEX_GATEWAY_EGRESS_FORWARD_H
#define CODEX_GATEWAY_EGRESS_FORWARD_H

#include "gateway/egress/target.h"

/* Bytes that a filter may append, at most, to what a flow holds. */
enum { FORWARD_OUT_MAX = 4 * 65536 };

struct forward {
    struct http_head head; /* of the request; owned */
    struct http_body request, response;
    struct buf answer_head; /* of the answer, as far as it has come */
    unsigned interim;       /* answers of the 1xx kind */
    bool answered;          /* the head of the final answer was passed on */
    int status;             /* why a filter failed: what to tell the client, … */
    struct err err;         /* … and why */
};

/* HEAD becomes the forward's. */
struct forward *forward_new(struct http_head *head);
void forward_free(struct forward *forward);

int forward_request(void *forward, const char *bytes, size_t len, struct buf *out);
int forward_response(void *forward, const char *bytes, size_t len, struct buf *out);

#endif
