/*
 * A server's answer, as the agent and the CLI read it: head, then data, then one end; and in
 * whatever pieces it comes, the same comes out. Input: a byte with the size of the pieces, and the
 * answer.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "http/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 60000 };

static void require(bool condition)
{
    if (!condition)
        abort();
}

struct seen {
    unsigned heads, ends;
    int http_status, status;
    struct buf body;
};

static void on_head(void *arg, const struct http_head *head)
{
    struct seen *seen = arg;
    require(!seen->heads++ && !seen->ends && !seen->body.len);
    require(head->status >= 200 && head->status <= 599);
    for (size_t i = 0; i < head->headers_count; i++)
        require(*head->headers[i].name && !strpbrk(head->headers[i].value, "\r\n"));
    seen->http_status = head->status;
}

static void on_data(void *arg, const char *bytes, size_t len)
{
    struct seen *seen = arg;
    require(seen->heads && !seen->ends && len);
    require(buf_append(&seen->body, bytes, len) == 0);
}

static void on_end(void *arg, int status, const struct err *err)
{
    struct seen *seen = arg;
    require(!seen->ends++ && (status == 0 || *err->message));
    require(status != 0 || seen->heads);
    seen->status = status;
}

static struct loop *loop;
static struct http_peer peer;
static int listener = -1;

/* An abstract address: nothing is left in the file system. */
static void open_all(void)
{
    struct err err;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t len = sizeof(sa_family_t); /* the kernel chooses */
    loop = loop_new(&err);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(loop && listener >= 0 && bind(listener, (struct sockaddr *)&address, len) == 0);
    peer.address_len = sizeof peer.address;
    require(listen(listener, 8) == 0 &&
            getsockname(listener, (struct sockaddr *)&peer.address, &peer.address_len) == 0);
    snprintf(peer.host, sizeof peer.host, "localhost");
}

static void answer(const char *bytes, size_t len, size_t step, struct seen *seen)
{
    static const struct http_call_handlers handlers = {on_head, on_data, on_end};
    const struct http_request request = {.method = "GET", .target = "/"};
    *seen = (struct seen){0};
    buf_init(&seen->body, INPUT_MAX);
    http_call_start(loop, &peer, &request, &handlers, seen);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    require(fd >= 0);
    for (size_t at = 0; at < len && !seen->ends; at += step) {
        size_t n = len - at < step ? len - at : step;
        if (send(fd, bytes + at, n, MSG_NOSIGNAL) < 0)
            break; /* it has heard enough */
        require(loop_run_once(loop, 0, NULL) == 0);
    }
    shutdown(fd, SHUT_WR);
    while (!seen->ends)
        require(loop_run_once(loop, 1000, NULL) == 0);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!loop)
        open_all();
    if (size < 2 || size > INPUT_MAX)
        return 0;
    struct seen whole, pieces;
    answer((const char *)data + 1, size - 1, size - 1, &whole);
    /* Of a long answer no more than some hundred pieces: each is a turn of the loop. */
    size_t step = (size_t)data[0] + 1 + size / 256;
    answer((const char *)data + 1, size - 1, step, &pieces);
    require(whole.heads == pieces.heads && whole.http_status == pieces.http_status);
    require(whole.status == pieces.status && whole.body.len == pieces.body.len);
    require(!memcmp(whole.body.data, pieces.body.data, whole.body.len));
    buf_release(&whole.body);
    buf_release(&pieces.body);
    return 0;
}
