#include "gateway/egress/forward.h"

#include <stdlib.h>
#include <string.h>

enum { INTERIM_MAX = 16 };

struct forward *forward_new(struct http_head *head)
{
    struct forward *forward = calloc(1, sizeof *forward);
    if (!forward)
        abort();
    forward->head = *head;
    *head = (struct http_head){0};
    buf_init(&forward->answer_head, 2 * 65536);
    if (http_body_init(&forward->request, HTTP_REQUEST, &forward->head, NULL) < 0)
        abort(); /* target_read() has checked it */
    return forward;
}

void forward_free(struct forward *forward)
{
    if (!forward)
        return;
    http_head_release(&forward->head);
    buf_release(&forward->answer_head);
    free(forward);
}

static int broken(struct forward *forward, int status)
{
    forward->status = status;
    return -1;
}

/* ---- the request */

static int append_piece(const struct forward *forward, const char *data, size_t len,
                        struct buf *out)
{
    bool chunked = forward->request.framing == HTTP_BODY_CHUNKED;
    if (!len)
        return 0;
    if (chunked && buf_appendf(out, "%zx\r\n", len) < 0)
        return -1;
    if (buf_append(out, data, len) < 0)
        return -1;
    return chunked ? buf_append_str(out, "\r\n") : 0;
}

/* What comes behind the request's end is not read: it would be another request, which goes by
 * another connection. Chunks are made anew, without extensions and trailers. */
int forward_request(void *arg, const char *bytes, size_t len, struct buf *out)
{
    struct forward *forward = arg;
    if (len == 0 && http_body_eof(&forward->request, &forward->err) < 0)
        return broken(forward, 400);
    while (len && !forward->request.done) {
        const char *data;
        size_t used, data_len;
        if (http_body_feed(&forward->request, bytes, len, &used, &data, &data_len, &forward->err) <
            0)
            return broken(forward, 400);
        if (append_piece(forward, data, data_len, out) < 0)
            abort(); /* there is room for a piece with the framing of its chunks */
        bytes += used;
        len -= used;
    }
    if (!forward->request.done)
        return 0;
    if (forward->request.framing == HTTP_BODY_CHUNKED)
        buf_append_str(out, "0\r\n\r\n");
    return 1;
}

/* ---- the answer */

static int pass_body(struct forward *forward, const char *bytes, size_t len, struct buf *out)
{
    while (len && !forward->response.done) {
        const char *data;
        size_t used, data_len;
        if (http_body_feed(&forward->response, bytes, len, &used, &data, &data_len, &forward->err) <
            0)
            return broken(forward, 502);
        if (buf_append(out, bytes, used) < 0) /* with its framing: the client knows it */
            abort();
        bytes += used;
        len -= used;
    }
    return forward->response.done;
}

/* Pass HEAD on. Returns 1 when it was the final one. */
static int pass_head(struct forward *forward, const struct http_head *head, struct buf *out)
{
    if (head->status == 101 || (head->status < 200 && ++forward->interim > INTERIM_MAX)) {
        err_set(&forward->err, ERR_PROTOCOL, "an interim answer that nobody asked for");
        return broken(forward, 502);
    }
    if (http_body_init(&forward->response, HTTP_RESPONSE, head, &forward->err) < 0)
        return broken(forward, 502);
    if (head->status >= 200 && !strcmp(forward->head.method, "HEAD"))
        forward->response = (struct http_body){.framing = HTTP_BODY_NONE, .done = true};
    target_write_response(head, out);
    return head->status >= 200;
}

/* Take heads from the front of what has come, up to the final one. */
static int pass_heads(struct forward *forward, struct buf *out)
{
    struct buf *in = &forward->answer_head;
    while (!forward->answered) {
        struct http_head head;
        int n = http_head_parse(&head, HTTP_RESPONSE, in->data, in->len, &forward->err);
        if (n < 0)
            return broken(forward, 502);
        if (n == 0)
            return 0;
        int status = pass_head(forward, &head, out);
        http_head_release(&head);
        if (status < 0)
            return status;
        buf_consume(in, (size_t)n);
        forward->answered = status;
    }
    int status = pass_body(forward, in->data, in->len, out);
    buf_release(in);
    return status;
}

int forward_response(void *arg, const char *bytes, size_t len, struct buf *out)
{
    struct forward *forward = arg;
    if (len == 0) {
        if (!forward->answered)
            err_set(&forward->err, ERR_PROTOCOL, "the connection was closed without an answer");
        bool whole = forward->answered && http_body_eof(&forward->response, &forward->err) == 0;
        return whole ? 1 : broken(forward, 502);
    }
    if (forward->answered)
        return pass_body(forward, bytes, len, out);
    if (buf_append(&forward->answer_head, bytes, len) < 0)
        abort(); /* it holds a head that is not whole, and a piece */
    return pass_heads(forward, out);
}
