/*
 * The seam between a call (one request of the sandbox, call.h) and whoever answers it: the real
 * provider (upstream.h) or recorded turns (replay.h).
 *
 * The call checks the request, meters the answer and speaks to the client. The provider takes the
 * request's body and gives an answer, at its own pace and the client's.
 */
#ifndef CODEX_GATEWAY_PROVIDER_H
#define CODEX_GATEWAY_PROVIDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "gateway/api_error.h"
#include "http/message.h"

struct call;

struct provider {
    void *state;

    /* Begin to answer CALL; the beginning of its body is there. Returns the transfer. The call is
     * not ended before this has returned. */
    void *(*start)(void *state, struct call *call);

    /* There may be more for call_read(), or the body's end. */
    void (*body)(void *transfer);

    /* The client takes more of the answer (after call_data() said no). */
    void (*writable)(void *transfer);

    /* The client has gone: forget the call, and free the transfer. */
    void (*cancel)(void *transfer);

    void (*free)(void *state);
};

/* The next bytes of the request's body, checked: how many, 0 at its end, -EAGAIN when none are
 * there now, or another negative code: the request is refused. Then the provider must not let it
 * become whole, and calls call_end() soon, with anything; the client is answered as it should
 * be. */
ssize_t call_read(struct call *call, char *out, size_t size);

/* Length of the body in bytes, or -1 when it is not known before its end. */
int64_t call_body_length(const struct call *call);

/* The headers of the request that may be passed on. Owned by the call. */
size_t call_headers(const struct call *call, const struct http_header **headers);

/* The request, once call_read() has returned 0. */
bool call_wants_stream(const struct call *call);
int call_turn(const struct call *call); /* the recorded turn that comes next, from 1 */

/* The answer's head. */
void call_head(struct call *call, int status, const struct http_header *headers, size_t count);

/* LEN bytes of its body. False: the client is behind; none was taken, `writable` will be called. */
bool call_data(struct call *call, const char *bytes, size_t len);

/* The answer is whole. The call no longer exists; the transfer is the provider's to free. */
void call_end(struct call *call);

/* There is no answer, or no end of it. As call_end() otherwise. MESSAGE: one sentence for a
 * person. */
void call_fail(struct call *call, enum api_error error, const char *message);

#endif
