/* libcurl's multi interface on the event loop. */
#ifndef CODEX_HTTP_CURL_LOOP_H
#define CODEX_HTTP_CURL_LOOP_H

#include <curl/curl.h>

#include "base/err.h"
#include "loop/loop.h"

struct curl_loop;

/* EASY is through, with RESULT; it is no longer in the multi handle. */
typedef void curl_loop_done_fn(void *arg, CURL *easy, CURLcode result);

/* NULL on failure. Initialises libcurl. */
struct curl_loop *curl_loop_new(struct loop *loop, curl_loop_done_fn *done, void *arg,
                                struct err *err);

/* Every easy handle was removed before. NULL is fine. */
void curl_loop_free(struct curl_loop *curl);

/* Begin a transfer, and (not in a callback of libcurl) take it back before it is through. */
int curl_loop_add(struct curl_loop *curl, CURL *easy, struct err *err);
void curl_loop_remove(struct curl_loop *curl, CURL *easy);

#endif
