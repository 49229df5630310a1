#include "gateway/call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "gateway/meter.h"
#include "gateway/redact.h"
#include "gateway/request.h"

enum { PASSED_MAX_BYTES = 256 }; /* of a header's value */

struct call {
    struct call_context *context;
    struct http_exchange *exchange;
    struct http_header headers[WIRE_PASSED_MAX]; /* values owned */
    size_t headers_count;

    struct request_check check;
    bool checked_end;
    uint64_t read_bytes;
    const char *piece; /* of the body: checked, and not yet read by the provider */
    size_t piece_len;
    int refused; /* 0, or the code with which the body was refused */
    struct err err;

    void *transfer; /* the provider's; NULL before it started */
    bool began;     /* the answer */
    bool is_good;   /* its status is 2xx: it costs something */
    struct meter meter;
    struct budget_hold hold;
    bool counted;
    struct redact redact;
    struct buf clean; /* what of the answer goes out */
};

static void call_free(struct call *call)
{
    for (size_t i = 0; i < call->headers_count; i++)
        free((char *)call->headers[i].value);
    budget_release(call->context->budget, &call->hold);
    meter_release(&call->meter);
    redact_release(&call->redact);
    buf_release(&call->clean);
    call->context->open--;
    free(call);
}

void call_refuse(struct http_exchange *exchange, enum api_error error, int status,
                 const char *message)
{
    AUTO_BUF struct buf body;
    buf_init(&body, HTTP_WRITE_MAX);
    api_error_body(error, message, &body);
    struct http_header headers[2] = {{"Content-Type", "application/json"}};
    size_t count = 1;
    if (status == 405)
        headers[count++] = (struct http_header){"Allow", "POST"};
    if (error == API_TOO_MANY)
        headers[count++] = (struct http_header){"Retry-After", "1"};
    http_exchange_reply(exchange, status ? status : api_error_status(error), headers, count,
                        body.data, body.len);
}

/* ---- the request */

/* N more bytes of the body have come, and its end has, or not. */
static void count_request(struct call *call, size_t n)
{
    bool is_news = call->checked_end || call->check.images != call->hold.images;
    call->read_bytes += n;
    call->hold.images = call->check.images;
    call->hold.image_bytes = call->check.image_bytes;
    if (call->checked_end)
        call->hold.request_bytes = call->read_bytes;
    if (is_news && !call->counted)
        budget_hold(call->context->budget, &call->hold);
}

/* Get and check the next piece of the body. Returns its length, 0 at the end, or negative. */
static ssize_t check_piece(struct call *call)
{
    ssize_t n = http_exchange_body(call->exchange, &call->piece, &call->err);
    if (n < 0)
        return n;
    bool done = http_exchange_body_done(call->exchange);
    if (n == 0 && !done)
        return -EAGAIN;
    int status = request_check_feed(&call->check, call->piece, (size_t)n, &call->err);
    if (status == 0 && done) /* where that is known already, before the last piece is given out */
        status = request_check_end(&call->check, &call->err);
    call->checked_end = done;
    count_request(call, (size_t)n);
    return status < 0 ? status : n;
}

/* The piece that the provider reads from: its length, 0 at the end, -EAGAIN, or the code of a
 * refusal. */
static ssize_t next_piece(struct call *call)
{
    if (call->refused || call->piece_len)
        return call->refused ? call->refused : (ssize_t)call->piece_len;
    if (call->checked_end) /* 0; and what the exchange held of the request is released */
        return http_exchange_body(call->exchange, &call->piece, &call->err);
    ssize_t n = check_piece(call);
    if (n < 0 && n != -EAGAIN)
        call->refused = (int)n;
    call->piece_len = n > 0 ? (size_t)n : 0;
    return n;
}

ssize_t call_read(struct call *call, char *out, size_t size)
{
    size_t filled = 0;
    while (filled < size) {
        ssize_t n = next_piece(call);
        /* What was read before a refusal is not given out either: it may be all but the last
         * byte. */
        if (n < 0 && n != -EAGAIN)
            return n;
        if (n <= 0)
            return filled ? (ssize_t)filled : n;
        size_t part = (size_t)n < size - filled ? (size_t)n : size - filled;
        memcpy(out + filled, call->piece, part);
        call->piece += part;
        call->piece_len -= part;
        filled += part;
    }
    return (ssize_t)filled;
}

int64_t call_body_length(const struct call *call)
{
    return http_exchange_body_length(call->exchange);
}

size_t call_headers(const struct call *call, const struct http_header **headers)
{
    *headers = call->headers;
    return call->headers_count;
}

bool call_wants_stream(const struct call *call)
{
    return call->check.wants_stream;
}

int call_turn(const struct call *call)
{
    return call->check.highest_turn + 1;
}

static void copy_headers(struct call *call, const struct http_head *head)
{
    const char *const *passed = call->context->config->wire->passed;
    for (size_t i = 0; i < WIRE_PASSED_MAX && passed[i]; i++) {
        const char *value = http_head_get(head, passed[i]);
        if (value && strlen(value) <= PASSED_MAX_BYTES)
            call->headers[call->headers_count++] = (struct http_header){passed[i], str_dup(value)};
    }
}

void call_open(struct call_context *context, struct http_exchange *exchange,
               const struct http_head *head)
{
    struct call *call = calloc(1, sizeof *call);
    if (!call)
        abort();
    *call = (struct call){.context = context, .exchange = exchange};
    const struct gateway_config *config = context->config;
    request_check_init(&call->check, config->model, config->wire->kind == WIRE_CHAT);
    meter_init(&call->meter, config->wire->kind);
    redact_init(&call->redact, config->key, (const char *const *)config->secrets,
                config->secrets_count);
    buf_init(&call->clean, HTTP_WRITE_MAX);
    copy_headers(call, head);
    /* A body in chunks may become as large as any. */
    int64_t length = http_exchange_body_length(exchange);
    call->hold.request_bytes = length >= 0 ? (uint64_t)length : context->body_max;
    budget_hold(context->budget, &call->hold);
    context->open++;
    http_exchange_accept(exchange, call);
}

/* ---- the answer */

static enum api_error error_of(int refused)
{
    return refused == ERR_REFUSED ? API_WRONG_MODEL
           : refused == ERR_LIMIT ? API_TOO_LARGE
                                  : API_BAD_REQUEST;
}

/* Count what the answer cost, once. WHY: what to say when that is not known. What comes behind the
 * usage costs nothing any more. */
static void count(struct call *call, const char *why)
{
    if (call->counted || (!call->meter.known && !call->is_good))
        return;
    call->counted = true;
    call->hold.request_bytes = call->read_bytes;
    if (call->meter.known)
        budget_count(call->context->budget, &call->meter.usage);
    else
        budget_count_estimate(call->context->budget, &call->hold, why);
    budget_release(call->context->budget, &call->hold);
}

/* Answer with an error, or cut the answer that has begun; the end of the call. */
static void answer_error(struct call *call, enum api_error error, const char *message)
{
    if (call->began)
        http_exchange_abort(call->exchange);
    else
        call_refuse(call->exchange, error, 0, message);
    call_free(call);
}

void call_on_body(void *arg)
{
    struct call *call = arg;
    if (call->transfer) {
        call->context->provider->body(call->transfer);
        return;
    }
    /* The provider hears of the request only when its beginning is in order. */
    ssize_t n = next_piece(call);
    if (n < 0 && n != -EAGAIN)
        answer_error(call, error_of(call->refused), call->err.message);
    else if (n >= 0)
        call->transfer = call->context->provider->start(call->context->provider->state, call);
}

void call_on_writable(void *arg)
{
    struct call *call = arg;
    if (call->transfer)
        call->context->provider->writable(call->transfer);
}

/* Nobody waits for the answer any more. Once the provider has the whole request, that may cost
 * something before an answer has begun as well. */
static void give_up(struct call *call)
{
    bool sent = call->transfer && call->checked_end && !call->piece_len;
    call->is_good = call->is_good || (sent && !call->began);
}

void call_on_gone(void *arg)
{
    struct call *call = arg;
    if (call->transfer)
        call->context->provider->cancel(call->transfer);
    give_up(call);
    /* Who does not wait for the usage is not believed that it was images. */
    call->hold.images = 0;
    call->hold.image_bytes = 0;
    count(call, "the client left before the answer's usage had come");
    call_free(call);
}

void call_head(struct call *call, int status, const struct http_header *headers, size_t count)
{
    struct http_header clean[HTTP_HEADERS_MAX];
    size_t clean_count = 0;
    for (size_t i = 0; i < count && clean_count < HTTP_HEADERS_MAX; i++)
        if (!redact_finds(&call->redact, headers[i].value))
            clean[clean_count++] = headers[i];
    call->began = true;
    call->is_good = status >= 200 && status < 300;
    http_exchange_begin(call->exchange, status, clean, clean_count);
}

bool call_data(struct call *call, const char *bytes, size_t len)
{
    if (!http_exchange_writable(call->exchange))
        return false;
    /* Metered before it goes out: the agent's next request may come before this answer's end. */
    meter_feed(&call->meter, bytes, len);
    if (!call->counted) {
        call->hold.answer_bytes += len;
        budget_hold(call->context->budget, &call->hold);
    }
    if (call->meter.known)
        count(call, NULL);
    buf_clear(&call->clean);
    redact_feed(&call->redact, bytes, len, &call->clean);
    if (call->clean.len)
        http_exchange_write(call->exchange, call->clean.data, call->clean.len);
    return true;
}

/* What is still to be done once the provider has nothing more to say. */
static void take_end(struct call *call, const char *why)
{
    meter_end(&call->meter);
    count(call, why);
}

void call_end(struct call *call)
{
    if (call->refused) {
        answer_error(call, error_of(call->refused), call->err.message);
        return;
    }
    take_end(call, "the answer ended without usage");
    buf_clear(&call->clean);
    redact_end(&call->redact, &call->clean);
    if (call->clean.len)
        http_exchange_write(call->exchange, call->clean.data, call->clean.len);
    http_exchange_finish(call->exchange);
    call_free(call);
}

void call_fail(struct call *call, enum api_error error, const char *message)
{
    if (call->refused) {
        answer_error(call, error_of(call->refused), call->err.message);
        return;
    }
    call->context->trouble(call->context->arg, message);
    if (error == API_PROVIDER_TIMEOUT)
        give_up(call);
    take_end(call, "the answer broke off before its usage had come");
    answer_error(call, error, message);
}
