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

enum { LINE_MAX_BYTES = 2048 /* of a header that matters */ };

struct rest {
    struct curl_loop *curl;
};

struct rest_call {
    struct rest *rest;
    CURL *easy;
    struct curl_slist *headers;
    char *body;
    struct buf answer, location;
    /* What the head said of waiting; -1: nothing. Times are seconds. */
    int64_t retry_after, limit_reset, limit_remaining;
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
    buf_release(&call->location);
    free(call);
}

/* x-ratelimit-reset stands in every answer of GitHub: it matters once nothing remains. */
static int64_t wait_ms(const struct rest_call *call)
{
    int64_t seconds = call->retry_after;
    if (seconds < 0 && call->limit_remaining == 0 && call->limit_reset >= 0)
        seconds = call->limit_reset > time(NULL) ? call->limit_reset - time(NULL) : 0;
    return seconds < 0 ? -1 : seconds > REST_WAIT_MAX_MS / 1000 ? REST_WAIT_MAX_MS : seconds * 1000;
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
                                       .wait_ms = wait_ms(call),
                                       .location = call->location.len ? call->location.data : NULL};
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

/* Whether LINE is the header NAME (with its colon); then *VALUE is what it says. */
static bool is_header(const char *line, const char *name, const char **value)
{
    size_t len = strlen(name);
    if (strncasecmp(line, name, len) != 0)
        return false;
    *value = line + len + strspn(line + len, " \t");
    return true;
}

/* Seconds, or a date (RFC 9110, 10.2.3); -1 when it is neither. */
static int64_t read_retry_after(const char *value)
{
    int64_t seconds;
    if (str_parse_int(value, 0, INT64_MAX, &seconds) == 0)
        return seconds;
    time_t date = curl_getdate(value, NULL);
    return date < 0 ? -1 : date > time(NULL) ? date - time(NULL) : 0;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *arg)
{
    struct rest_call *call = arg;
    size_t len = size * count;
    char line[LINE_MAX_BYTES + 1];
    const char *value;
    if (len > LINE_MAX_BYTES)
        return len; /* none that matters here */
    memcpy(line, bytes, len);
    line[len] = '\0';
    while (len && strchr("\r\n \t", line[len - 1]))
        line[--len] = '\0';
    if (is_header(line, "retry-after:", &value))
        call->retry_after = read_retry_after(value);
    else if (is_header(line, "x-ratelimit-reset:", &value))
        str_parse_int(value, 0, INT64_MAX, &call->limit_reset);
    else if (is_header(line, "x-ratelimit-remaining:", &value))
        str_parse_int(value, 0, INT64_MAX, &call->limit_remaining);
    else if (is_header(line, "location:", &value) && !call->location.len)
        buf_append_str(&call->location, value);
    return size * count;
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
                               .retry_after = -1,
                               .limit_reset = -1,
                               .limit_remaining = -1,
                               .done = done,
                               .arg = arg};
    buf_init(&call->answer, REST_ANSWER_MAX);
    buf_init(&call->location, LINE_MAX_BYTES);
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
