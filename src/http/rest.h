/*
 * Requests to the API of a server elsewhere, by libcurl: a small body there, a bounded one back. No
 * redirects, no cookies, certificates checked, names resolved by libcurl's own thread.
 */
#ifndef CODEX_HTTP_REST_H
#define CODEX_HTTP_REST_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/loop.h"

enum { REST_ANSWER_MAX = 4 << 20, REST_HEADERS_MAX = 8, REST_WAIT_MAX_MS = 24 * 3600 * 1000 };

struct rest;
struct rest_call;

struct rest_request {
    const char *method;                        /* "GET", "POST" … */
    const char *url;                           /* http:// or https:// */
    const char *headers[REST_HEADERS_MAX + 1]; /* "Name: value"; NULL at the end */
    const char *body;                          /* JSON; NULL: none */
    const char *ca;     /* certificates in PEM to trust instead of the system's; NULL: those */
    int64_t timeout_ms; /* of all of it */
};

struct rest_answer {
    int status;
    const char *body; /* of at most REST_ANSWER_MAX bytes, a NUL behind them */
    size_t len;
    /* How long the server asks to wait (Retry-After, or x-ratelimit-reset once x-ratelimit-remaining
     * is 0), at most REST_WAIT_MAX_MS; -1: it does not. */
    int64_t wait_ms;
    const char *location; /* where it sends one; NULL: nowhere */
};

/* ANSWER is NULL when none came, and ERR says why. Called once, from the loop, unless it was
 * dropped. */
typedef void rest_done_fn(void *arg, const struct rest_answer *answer, const struct err *err);

/* NULL on failure. */
struct rest *rest_new(struct loop *loop, struct err *err);
/* Every call was dropped before. NULL is fine. */
void rest_free(struct rest *rest);

/* Begin. The request is copied. NULL on failure. */
struct rest_call *rest_start(struct rest *rest, const struct rest_request *request,
                             rest_done_fn *done, void *arg, struct err *err);

/* Give it up; DONE is not called. NULL is fine. */
void rest_drop(struct rest_call *call);

#endif
