#include "gateway/egress/target.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

static int refuse(struct err *err, int status, const char *message)
{
    err_set(err, ERR_USAGE, "%s", message);
    return status;
}

static int bad_authority(struct err *err)
{
    err_context(err, "the request");
    return 400;
}

static int read_tunnel(struct target *target, const struct http_head *head, struct err *err)
{
    target->is_tunnel = true;
    if (net_host_parse_authority(&target->host, &target->port, head->target, strlen(head->target),
                                 err) < 0)
        return bad_authority(err);
    return target->port ? 0 : refuse(err, 400, "CONNECT wants host:port");
}

/* http://host[:port][/path][?query] */
static int read_url(struct target *target, const char *url, struct err *err)
{
    static const char scheme[] = "http://";
    if (!strncasecmp(url, "https://", strlen("https://")))
        return refuse(err, 400, "https:// goes through CONNECT, not as a plain request");
    if (url[0] == '/' || url[0] == '*')
        return refuse(
            err, 400,
            "this is the sandbox's HTTP proxy: name it in http_proxy and https_proxy, and "
            "ask for the whole address");
    if (strncasecmp(url, scheme, sizeof scheme - 1))
        return refuse(err, 400, "only http:// and https:// go through this proxy");
    const char *authority = url + sizeof scheme - 1;
    size_t len = strcspn(authority, "/?#");
    if (memchr(authority, '@', len))
        return refuse(err, 400, "a user in an address is not passed on: use a header");
    if (strchr(authority, '#'))
        return refuse(err, 400, "a fragment (#) does not belong in a request");
    if (net_host_parse_authority(&target->host, &target->port, authority, len, err) < 0)
        return bad_authority(err);
    target->path = authority + len;
    if (!target->port)
        target->port = 80;
    return 0;
}

/* The header Host, if there is one, names the same place: who reads it further on must not see
 * another. */
static int check_host(const struct target *target, const struct http_head *head, struct err *err)
{
    const char *host = NULL;
    for (size_t i = 0; i < head->headers_count; i++) {
        if (strcasecmp(head->headers[i].name, "host"))
            continue;
        if (host)
            return refuse(err, 400, "two Host headers");
        host = head->headers[i].value;
    }
    struct net_host other;
    uint16_t port;
    /* Of CONNECT it says nothing: many clients leave the port out, some send the proxy's name. */
    if (target->is_tunnel || !host)
        return 0;
    if (net_host_parse_authority(&other, &port, host, strlen(host), err) < 0)
        return bad_authority(err);
    if (strcmp(other.text, target->host.text) || (port ? port : 80) != target->port)
        return refuse(err, 400, "the Host header names another place than the request");
    return 0;
}

int target_read(struct target *target, const struct http_head *head, struct err *err)
{
    *target = (struct target){0};
    bool tunnel = !strcmp(head->method, "CONNECT");
    int status = tunnel ? read_tunnel(target, head, err) : read_url(target, head->target, err);
    if (!status)
        status = check_host(target, head, err);
    /* A request in an encoding that hides where it ends is no request that can be passed on. */
    struct http_body body;
    if (!status && http_body_init(&body, HTTP_REQUEST, head, err) < 0)
        status = 400;
    if (!status && tunnel && !body.done)
        status = refuse(err, 400, "CONNECT has no body");
    return status;
}

/* Is NAME an element of the list VALUE ("a, b")? */
static bool lists(const char *value, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = value; *at;) {
        at += strspn(at, " \t,");
        size_t token = strcspn(at, " \t,");
        if (token == len && !strncasecmp(at, name, len))
            return true;
        at += token;
    }
    return false;
}

/* Of this connection only (RFC 9110, 7.6.1), or written by us. */
static bool stays_here(const struct http_head *head, const char *name)
{
    static const char *const ours[] = {"connection",
                                       "keep-alive",
                                       "proxy-connection",
                                       "proxy-authenticate",
                                       "proxy-authorization",
                                       "proxy-authentication-info",
                                       "te",
                                       "trailer",
                                       "transfer-encoding",
                                       "upgrade",
                                       "content-length",
                                       "host"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (!strcasecmp(name, ours[i]))
            return true;
    for (size_t i = 0; i < head->headers_count; i++)
        if (!strcasecmp(head->headers[i].name, "connection") && lists(head->headers[i].value, name))
            return true;
    return false;
}

static void write_headers(const struct http_head *head, struct buf *out)
{
    for (size_t i = 0; i < head->headers_count; i++)
        if (!stays_here(head, head->headers[i].name))
            buf_appendf(out, "%s: %s\r\n", head->headers[i].name, head->headers[i].value);
}

/* A head that lacks a line must not go out: that there is room was promised. */
static void finish(struct buf *out, const char *last)
{
    if (buf_append_str(out, last) < 0 || out->len + HTTP_HEADERS_MAX > out->max)
        abort();
}

void target_write_request(const struct target *target, const struct http_head *head,
                          const struct http_body *body, struct buf *out)
{
    bool v6 = strchr(target->host.text, ':');
    buf_appendf(out, "%s %s%s HTTP/1.%d\r\n", head->method, *target->path == '/' ? "" : "/",
                target->path, head->minor_version);
    buf_appendf(out, v6 ? "Host: [%s]" : "Host: %s", target->host.text);
    if (target->port != 80)
        buf_appendf(out, ":%u", target->port);
    buf_append_str(out, "\r\n");
    write_headers(head, out);
    if (body->framing == HTTP_BODY_CHUNKED)
        buf_append_str(out, "Transfer-Encoding: chunked\r\n");
    else if (body->framing == HTTP_BODY_LENGTH)
        buf_appendf(out, "Content-Length: %llu\r\n", (unsigned long long)body->left);
    finish(out, "Connection: close\r\n\r\n");
}

void target_write_response(const struct http_head *head, struct buf *out)
{
    buf_appendf(out, "HTTP/1.%d %d %s\r\n", head->minor_version, head->status, head->reason);
    write_headers(head, out);
    const char *encoding = http_head_get(head, "transfer-encoding"),
               *length = http_head_get(head, "content-length");
    if (encoding)
        buf_appendf(out, "Transfer-Encoding: %s\r\n", encoding);
    if (length)
        buf_appendf(out, "Content-Length: %s\r\n", length);
    finish(out, head->status < 200 ? "\r\n" : "Connection: close\r\n\r\n");
}
