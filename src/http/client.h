/*
 * An HTTP/1.1 client for peers on this machine: the gateway on loopback (for the agent, which is
 * static and resolves no names) and codexd on its Unix socket (for the CLI). One connection a
 * call, on the event loop; answers are streamed.
 */
#ifndef CODEX_HTTP_CLIENT_H
#define CODEX_HTTP_CLIENT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/err.h"
#include "http/message.h"
#include "loop/loop.h"

struct http_peer {
    struct sockaddr_storage address;
    socklen_t address_len;
    char host[64]; /* the Host header */
};

/* The Unix socket at PATH. ERR_USAGE when the path is too long for one. */
int http_peer_unix(struct http_peer *peer, const char *path, struct err *err);

/* "http://127.0.0.1:64080/v1": a numeric address or "localhost", and a port. *PREFIX becomes the
 * path in URL, without a slash at its end ("/v1"); the caller frees it. ERR_USAGE otherwise. */
int http_peer_url(struct http_peer *peer, const char *url, char **prefix, struct err *err);

struct http_request {
    const char *method, *target;
    const struct http_header *headers; /* Host, Connection and Content-Length are added */
    size_t headers_count;
    /* The body in pieces that are not copied: they stay as they are until `end`. */
    const struct iovec *body;
    size_t body_count;
    int64_t first_byte_timeout_ms; /* from the start to the head of the answer; 0: none */
    int64_t idle_timeout_ms;       /* between two reads of the answer's body; 0: none */
};

struct http_call_handlers {
    /* The head of the answer (never a 1xx). Valid during the call. NULL allowed. */
    void (*head)(void *arg, const struct http_head *head);
    /* The next bytes of its body. */
    void (*data)(void *arg, const char *bytes, size_t len);
    /* The call is over, once: STATUS 0 when the answer was whole, else the code in ERR:
     * -ECONNREFUSED, -ENOENT (no socket), -ETIMEDOUT, ERR_PROTOCOL, … The call is freed after
     * it. */
    void (*end)(void *arg, int status, const struct err *err);
};

struct http_call;

/* Begin a call. Never fails at once: trouble comes by `end`, from the loop. All of REQUEST but the
 * body's pieces is copied. */
struct http_call *http_call_start(struct loop *loop, const struct http_peer *peer,
                                  const struct http_request *request,
                                  const struct http_call_handlers *handlers, void *arg);

/* Give up without a call of `end`; allowed in any handler but `end`. NULL is fine. */
void http_call_cancel(struct http_call *call);

#endif
