#include "gateway/upstream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "gateway/curl_loop.h"
#include "gateway/provider_url.h"
#include "gateway/resolve.h"
#include "gateway/upstream_head.h"
#include "gateway/upstream_headers.h"

enum {
    CONNECT_TIMEOUT_MS = 30000,
    ADDRESS_LIFE_MS = 60000,      /* how long an answer of the DNS is used */
    PINNED_MAX = 16384,           /* bytes of a host of base_url with its addresses */
    RECEIVE_BUFFER_BYTES = 16384, /* libcurl's; the most it ever gives at once */
    SEND_BUFFER_BYTES = 65536,
};

struct upstream {
    struct loop *loop;
    const struct gateway_config *config;
    struct curl_loop *curl;
    struct provider_url url;
    struct curl_slist *pinned;
    int64_t pinned_until_ms;
    struct resolve *resolve; /* the question that is open */
    struct transfer *first;
};

struct transfer {
    struct upstream *upstream;
    struct transfer *next;
    struct call *call;
    CURL *easy; /* NULL: waits for the address */
    struct curl_slist *headers;
    struct loop_source *timer;
    int64_t progress_ms; /* when the provider last did its part */
    bool send_paused, receive_paused;
    struct upstream_head head;
    bool has_head;
    struct err err; /* what is wrong with the answer; code 0: nothing */
    char curl_error[CURL_ERROR_SIZE];
};

/* ---- a transfer's end */

static void transfer_free(struct transfer *transfer)
{
    struct transfer **at = &transfer->upstream->first;
    while (*at != transfer)
        at = &(*at)->next;
    *at = transfer->next;
    loop_remove(transfer->timer);
    if (transfer->easy) {
        curl_loop_remove(transfer->upstream->curl, transfer->easy);
        curl_easy_cleanup(transfer->easy);
    }
    curl_slist_free_all(transfer->headers);
    upstream_head_release(&transfer->head);
    free(transfer);
}

static void fail(struct transfer *transfer, enum api_error error, const char *what, const char *why)
{
    struct call *call = transfer->call;
    const struct upstream *upstream = transfer->upstream;
    char message[CURL_ERROR_SIZE + 512];
    snprintf(message, sizeof message, "%s %.200s:%s: %s", what, upstream->url.host,
             upstream->url.port, why);
    transfer_free(transfer);
    call_fail(call, error, message);
}

static void on_done(void *arg, CURL *easy, CURLcode result)
{
    char *private;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
    struct transfer *transfer = (struct transfer *)private;
    if (result == CURLE_OK && transfer->has_head) {
        struct call *call = transfer->call;
        transfer_free(transfer);
        call_end(call);
        return;
    }
    const char *why = transfer->err.code        ? transfer->err.message
                      : transfer->curl_error[0] ? transfer->curl_error
                      : result == CURLE_OK      ? "it hung up before its answer began"
                                                : curl_easy_strerror(result);
    fail(transfer,
         result == CURLE_OPERATION_TIMEDOUT ? API_PROVIDER_TIMEOUT : API_PROVIDER_UNREACHABLE,
         transfer->has_head ? "the answer broke off, from the provider at"
                            : "no answer from the provider at",
         why);
}

/* The provider has been silent for too long; or (has_head and the pauses say so) it was not its
 * turn. */
static void on_timer(void *arg)
{
    struct transfer *transfer = arg;
    transfer->timer = NULL;
    const struct gateway_config *config = transfer->upstream->config;
    int64_t patience_ms =
        transfer->has_head ? config->idle_timeout_ms : config->first_byte_timeout_ms;
    int64_t now_ms = clock_mono_ms();
    if (transfer->receive_paused || (transfer->send_paused && !transfer->has_head))
        transfer->progress_ms = now_ms;
    int64_t left_ms = transfer->progress_ms + patience_ms - now_ms;
    if (left_ms > 0) {
        transfer->timer = loop_add_timer(transfer->upstream->loop, left_ms, on_timer, transfer);
        return;
    }
    char why[64];
    snprintf(why, sizeof why, "it was silent for %lld s", (long long)patience_ms / 1000);
    fail(transfer, API_PROVIDER_TIMEOUT, "no answer from the provider at", why);
}

/* ---- libcurl's callbacks */

static size_t on_send(char *out, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    ssize_t n = call_read(transfer->call, out, size * count);
    if (n == -EAGAIN) {
        transfer->send_paused = true;
        return CURL_READFUNC_PAUSE;
    }
    transfer->progress_ms = clock_mono_ms();
    return n < 0 ? CURL_READFUNC_ABORT : (size_t)n;
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    size_t len = size * count;
    int status = upstream_head_line(&transfer->head, line, len, &transfer->err);
    if (status < 0)
        return 0;
    if (status > 0 && !transfer->has_head) {
        transfer->has_head = true;
        transfer->progress_ms = clock_mono_ms();
        call_head(transfer->call, transfer->head.status, transfer->head.headers,
                  transfer->head.headers_count);
        upstream_head_release(&transfer->head);
        /* The other timeout may be the shorter one. */
        loop_remove(transfer->timer);
        transfer->timer =
            loop_add_timer(transfer->upstream->loop, transfer->upstream->config->idle_timeout_ms,
                           on_timer, transfer);
    }
    return len;
}

static size_t on_receive(char *bytes, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    size_t len = size * count;
    if (len && !call_data(transfer->call, bytes, len)) {
        transfer->receive_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    transfer->progress_ms = clock_mono_ms();
    return len;
}

/* Pause what is to be paused, and let the rest go on. May call on_receive. */
static void set_pauses(struct transfer *transfer)
{
    transfer->progress_ms = clock_mono_ms();
    if (transfer->easy)
        curl_easy_pause(transfer->easy, (transfer->send_paused ? CURLPAUSE_SEND : 0) |
                                            (transfer->receive_paused ? CURLPAUSE_RECV : 0));
}

/* ---- a transfer's beginning */

static void set_security(CURL *easy)
{
    const char *file = getenv("SSL_CERT_FILE"), *directory = getenv("SSL_CERT_DIR");
    /* A directory is read by need, a file whole at each connection: a third of the memory. */
    curl_easy_setopt(easy, CURLOPT_CAINFO, file && *file ? file : NULL);
    curl_easy_setopt(easy, CURLOPT_CAPATH, directory && *directory ? directory : "/etc/ssl/certs");
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NETRC, CURL_NETRC_IGNORED);
}

static void set_options(struct transfer *transfer)
{
    CURL *easy = transfer->easy;
    const struct upstream *upstream = transfer->upstream;
    curl_easy_setopt(easy, CURLOPT_URL, upstream->url.target);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->curl_error);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "codex-gateway");
    /* With HTTP/2 this libcurl holds up to 32 MB of an answer whose reader is slow. */
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)RECEIVE_BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)SEND_BUFFER_BYTES);
    curl_easy_setopt(easy, CURLOPT_RESOLVE, upstream->pinned);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     (curl_off_t)call_body_length(transfer->call));
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send);
    curl_easy_setopt(easy, CURLOPT_READDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_receive);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    set_security(easy);
    transfer->headers = upstream_headers(upstream->config, transfer->call);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
}

static void on_start_failed(void *arg)
{
    struct transfer *transfer = arg;
    transfer->timer = NULL;
    fail(transfer, API_PROVIDER_UNREACHABLE, "cannot begin a request to the provider at",
         transfer->err.message);
}

/* A call must not end while it starts: tell it in the next round. */
static void fail_later(struct transfer *transfer)
{
    loop_remove(transfer->timer);
    transfer->timer = loop_add_timer(transfer->upstream->loop, 0, on_start_failed, transfer);
}

static void run(struct transfer *transfer)
{
    transfer->easy = curl_easy_init();
    if (!transfer->easy)
        abort();
    set_options(transfer);
    if (curl_loop_add(transfer->upstream->curl, transfer->easy, &transfer->err) < 0)
        fail_later(transfer);
}

/* ---- the address */

/* For libcurl: "host:port:192.0.2.1,[2001:db8::1]". */
static void pin(struct upstream *upstream, const struct net_address *addresses, size_t count)
{
    AUTO_BUF struct buf entry;
    buf_init(&entry, PINNED_MAX);
    buf_appendf(&entry, "%s:%s:", upstream->url.host, upstream->url.port);
    for (size_t i = 0; i < count; i++) {
        char text[NET_ADDRESS_SIZE];
        net_address_text(&addresses[i], text);
        bool v4 = net_address_is_v4(&addresses[i]);
        buf_appendf(&entry, v4 ? "%s%s" : "%s[%s]", i ? "," : "", text);
    }
    curl_slist_free_all(upstream->pinned);
    upstream->pinned = curl_slist_append(NULL, entry.data);
    upstream->pinned_until_ms = clock_mono_ms() + ADDRESS_LIFE_MS;
}

static void on_resolved(void *arg, const struct net_address *addresses, size_t count,
                        const struct err *err)
{
    struct upstream *upstream = arg;
    if (count)
        pin(upstream, addresses, count);
    for (struct transfer *transfer = upstream->first; transfer; transfer = transfer->next) {
        if (transfer->easy || transfer->err.code)
            continue;
        if (count) {
            run(transfer);
        } else {
            transfer->err = *err;
            fail_later(transfer);
        }
    }
    resolve_free(upstream->resolve);
    upstream->resolve = NULL;
}

static bool needs_address(const struct upstream *upstream)
{
    return !upstream->url.is_literal &&
           (!upstream->pinned || upstream->pinned_until_ms <= clock_mono_ms());
}

/* ---- the provider's functions */

static void *upstream_start(void *state, struct call *call)
{
    struct upstream *upstream = state;
    struct transfer *transfer = calloc(1, sizeof *transfer);
    if (!transfer)
        abort();
    *transfer = (struct transfer){.upstream = upstream,
                                  .next = upstream->first,
                                  .call = call,
                                  .progress_ms = clock_mono_ms()};
    upstream->first = transfer;
    upstream_head_init(&transfer->head);
    transfer->timer =
        loop_add_timer(upstream->loop, upstream->config->first_byte_timeout_ms, on_timer, transfer);
    if (!needs_address(upstream)) {
        run(transfer);
    } else if (!upstream->resolve) {
        upstream->resolve =
            resolve_start(upstream->loop, &(struct resolve_question){.host = upstream->url.host},
                          on_resolved, upstream, &transfer->err);
        if (!upstream->resolve)
            fail_later(transfer);
    }
    return transfer;
}

static void upstream_body(void *arg)
{
    struct transfer *transfer = arg;
    if (!transfer->send_paused)
        return;
    transfer->send_paused = false;
    set_pauses(transfer);
}

static void upstream_writable(void *arg)
{
    struct transfer *transfer = arg;
    if (!transfer->receive_paused)
        return;
    transfer->receive_paused = false;
    set_pauses(transfer);
}

static void upstream_cancel(void *arg)
{
    transfer_free(arg);
}

static void upstream_free(void *state)
{
    struct upstream *upstream = state;
    if (!upstream)
        return;
    while (upstream->first)
        transfer_free(upstream->first);
    resolve_free(upstream->resolve);
    curl_loop_free(upstream->curl);
    curl_slist_free_all(upstream->pinned);
    provider_url_release(&upstream->url);
    free(upstream);
}

int upstream_open(struct loop *loop, const struct gateway_config *config, struct provider *out,
                  struct err *err)
{
    struct upstream *upstream = calloc(1, sizeof *upstream);
    if (!upstream)
        abort();
    *upstream = (struct upstream){.loop = loop, .config = config};
    int status = provider_url_parse(&upstream->url, config, err);
    if (status == 0) {
        upstream->curl = curl_loop_new(loop, on_done, upstream, err);
        status = upstream->curl ? 0 : err->code;
    }
    if (status < 0) {
        upstream_free(upstream);
        return status;
    }
    *out = (struct provider){upstream,          upstream_start,  upstream_body,
                             upstream_writable, upstream_cancel, upstream_free};
    return 0;
}
