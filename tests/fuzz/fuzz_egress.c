/*
 * What the proxy reads of a sandbox and of the internet. The first byte says which reader, the second
 * the size of the pieces; the rest is what comes.
 *
 * What must hold: a request that is taken is written anew as one that reads the same, names its host
 * once, as it was read, and carries nothing of the connection; an answer that is passed on is one
 * head and what belongs to it; a TLS greeting passes for no other host than the one it names.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/net_rule.h"
#include "gateway/egress/flow.h"
#include "gateway/egress/forward.h"
#include "gateway/egress/tls_hello.h"

enum { INPUT_MAX = 1 << 16 };

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void check_written(const struct target *target, const struct forward *forward)
{
    struct buf out;
    struct http_head head;
    struct http_body body;
    struct net_host host;
    struct err err;
    uint16_t port;
    buf_init(&out, TARGET_HEAD_MAX);
    target_write_request(target, &forward->head, &forward->request, &out);
    /* A head of its own may be a little larger than one that is taken. */
    int n = out.len <= HTTP_HEAD_MAX ? http_head_parse(&head, HTTP_REQUEST, out.data, out.len, &err)
                                     : 0;
    if (n == 0 || (n < 0 && forward->head.headers_count >= HTTP_HEADERS_MAX - 3)) {
        buf_release(&out);
        return;
    }
    require(n == (int)out.len && head.target[0] == '/');
    unsigned hosts = 0;
    for (size_t i = 0; i < head.headers_count; i++) {
        hosts += !strcasecmp(head.headers[i].name, "host");
        require(strcasecmp(head.headers[i].name, "proxy-authorization") != 0);
    }
    const char *written = http_head_get(&head, "host");
    require(hosts == 1 && !net_host_parse_authority(&host, &port, written, strlen(written), &err));
    require(!strcmp(host.text, target->host.text) && (port ? port : 80) == target->port);
    require(http_body_init(&body, HTTP_REQUEST, &head, &err) == 0);
    require(body.framing == forward->request.framing && body.left == forward->request.left);
    http_head_release(&head);
    buf_release(&out);
}

/* Feed FILTER in pieces up to its end. */
static void feed(flow_filter_fn *filter, struct forward *forward, const char *bytes, size_t size,
                 size_t step)
{
    struct buf out;
    buf_init(&out, FORWARD_OUT_MAX);
    int status = 0;
    for (size_t at = 0; at < size && status == 0; at += step) {
        status = filter(forward, bytes + at, size - at < step ? size - at : step, &out);
        buf_clear(&out);
    }
    if (status == 0)
        status = filter(forward, "", 0, &out);
    require(status != 0 && (status > 0 || forward->status));
    buf_release(&out);
}

static void request(const char *bytes, size_t size, size_t step)
{
    struct http_head head;
    struct target target;
    struct err err;
    int n = http_head_parse(&head, HTTP_REQUEST, bytes, size, &err);
    if (n <= 0)
        return;
    int status = target_read(&target, &head, &err);
    require(status == 0 || (status == 400 && *err.message));
    if (status || target.is_tunnel) {
        require(status || target.port);
        http_head_release(&head);
        return;
    }
    struct forward *forward = forward_new(&head);
    check_written(&target, forward);
    feed(forward_request, forward, bytes + n, size - (size_t)n, step);
    forward_free(forward);
}

static void response(const char *bytes, size_t size, size_t step)
{
    static const char get[] = "GET http://a.test/ HTTP/1.1\r\n\r\n";
    struct http_head head;
    struct err err;
    require(http_head_parse(&head, HTTP_REQUEST, get, sizeof get - 1, &err) > 0);
    struct forward *forward = forward_new(&head);
    feed(forward_response, forward, bytes, size, step);
    forward_free(forward);
}

static void greeting(const char *bytes, size_t size)
{
    struct net_host host, other;
    require(net_host_parse(&host, "a.test", 6, NULL) == 0);
    require(net_host_parse(&other, "b.test", 6, NULL) == 0);
    bool same = tls_hello_read(bytes, size, &host) == TLS_HELLO_SAME;
    require(!same || tls_hello_read(bytes, size, &other) == TLS_HELLO_OTHER);
}

static void names(const char *bytes, size_t size)
{
    struct net_host host, again;
    struct net_rule rule;
    struct err err;
    uint16_t port;
    if (net_host_parse_authority(&host, &port, bytes, size, &err) == 0) {
        /* The canonical form is its own. */
        require(net_host_parse(&again, host.text, strlen(host.text), &err) == 0);
        require(!strcmp(host.text, again.text) && host.is_address == again.is_address);
    }
    char *text = strndup(bytes, size);
    require(text);
    if (net_rule_parse(&rule, text, &err) == 0 && net_host_parse(&host, "a.test", 6, &err) == 0)
        net_rule_has_host(&rule, &host);
    net_rule_release(&rule);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > INPUT_MAX)
        return 0;
    size_t step = data[1] ? data[1] : 4096;
    char *bytes = malloc(size - 2 ? size - 2 : 1); /* of its own, for the sanitizer */
    require(bytes);
    memcpy(bytes, data + 2, size - 2);
    switch (data[0] % 4) {
    case 0:
        request(bytes, size - 2, step);
        break;
    case 1:
        response(bytes, size - 2, step);
        break;
    case 2:
        greeting(bytes, size - 2);
        break;
    default:
        names(bytes, size - 2);
    }
    free(bytes);
    return 0;
}
