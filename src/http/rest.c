#include "http/rest.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/buf.h"
#include "base/str.h"
#include "http/curl_loop.h"

struct rest {
    struct curl_loop *curl;
};

struct rest_call {
    struct rest *rest;
    CURL *easy;
    struct curl_slist *headers;
    char *body;
    struct buf answer;
    int64_t wait_ms;
    rest_done_fn *done;
    void *arg;
    char error[CURL_ERROR_SIZE];
};

static void call_free(struct rest_call *call)
{
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    free(call->body);
    buf_release(&call->answer);
    free(call);
}

static void on_done(void *arg, CURL *easy, CURLcode result)
{
    struct rest_call *call = NULL;
    struct err err = {0};
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &call);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    const struct rest_answer answer = {.status = (int)status,
                                       .body = call->answer.data ? call->answer.data : "",
                                       .len = call->answer.len,
                                       .wait_ms = call->wait_ms};
    if (result != CURLE_OK)
        err_set(&err, -EIO, "%s", *call->error ? call->error : curl_easy_strerror(result));
    call->done(call->arg, result == CURLE_OK ? &answer : NULL, &err);
    call_free(call);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct rest_call *call = arg;
    return buf_append(&call->answer, bytes, size * count) < 0 ? 0 : size * count;
}

/* The value of the header NAME (with its colon) when LINE is that one. */
static const char *value_of(const char *line, size_t len, const char *name)
{
    size_t name_len = strlen(name);
    if (len < name_len || strncasecmp(line, name, name_len) != 0)
        return NULL;
    return line + name_len;
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct rest_call *call = arg;
    size_t len = size * count;
    char text[32];
    const char *after = value_of(line, len, "retry-after:");
    const char *reset = value_of(line, len, "x-ratelimit-reset:");
    const char *from = after ? after : reset;
    if (!from)
        return len;
    snprintf(text, sizeof text, "%.*s", (int)(len - (size_t)(from - line)), from);
    long long n = strtoll(text, NULL, 10);
    if (after)
        call->wait_ms = n * 1000;
    else if (call->wait_ms < 0) /* seconds since the epoch */
        call->wait_ms = n > time(NULL) ? (n - time(NULL)) * 1000 : 0;
    return len;
}

struct rest *rest_new(struct loop *loop, struct err *err)
{
    struct rest *rest = calloc(1, sizeof *rest);
    if (!rest)
        abort();
    rest->curl = curl_loop_new(loop, on_done, rest, err);
    if (rest->curl)
        return rest;
    free(rest);
    return NULL;
}

void rest_free(struct rest *rest)
{
    if (!rest)
        return;
    curl_loop_free(rest->curl);
    free(rest);
}

static void set_options(struct rest_call *call, const struct rest_request *request)
{
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    if (call->body)
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body);
    if (request->ca) {
        struct curl_blob blob = {(void *)request->ca, strlen(request->ca), CURL_BLOB_COPY};
        curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob);
    }
}

struct rest_call *rest_start(struct rest *rest, const struct rest_request *request,
                             rest_done_fn *done, void *arg, struct err *err)
{
    struct rest_call *call = calloc(1, sizeof *call);
    if (!call)
        abort();
    *call = (struct rest_call){.rest = rest,
                               .easy = curl_easy_init(),
                               .body = str_dup(request->body),
                               .wait_ms = -1,
                               .done = done,
                               .arg = arg};
    buf_init(&call->answer, REST_ANSWER_MAX);
    for (size_t i = 0; request->headers[i]; i++)
        call->headers = curl_slist_append(call->headers, request->headers[i]);
    if (!call->easy)
        abort();
    set_options(call, request);
    if (curl_loop_add(rest->curl, call->easy, err) == 0)
        return call;
    call_free(call);
    return NULL;
}

void rest_drop(struct rest_call *call)
{
    if (!call)
        return;
    curl_loop_remove(call->rest->curl, call->easy);
    call_free(call);
}
