#include "test.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "http/client.h"
#include "http/message.h"
#include "http/sse.h"

static void a_head_is_read_whole(void **state)
{
    static const char text[] =
        "POST /v1/responses HTTP/1.1\r\nHost: a\r\nContent-Length:  3 \r\n\r\nabc";
    struct http_head head;
    struct err err;
    for (size_t n = 0; n < sizeof text - 4; n++)
        assert_int_equal(http_head_parse(&head, HTTP_REQUEST, text, n, &err), 0);
    assert_int_equal(http_head_parse(&head, HTTP_REQUEST, text, sizeof text - 1, &err),
                     sizeof text - 4);
    assert_string_equal(head.method, "POST");
    assert_string_equal(head.target, "/v1/responses");
    assert_string_equal(http_head_get(&head, "content-length"), "3");
    assert_null(http_head_get(&head, "accept"));
    struct http_body body;
    assert_int_equal(http_body_init(&body, HTTP_REQUEST, &head, &err), 0);
    assert_int_equal(body.framing, HTTP_BODY_LENGTH);
    assert_int_equal(body.left, 3);
    http_head_release(&head);
}

static void ambiguous_heads_are_refused(void **state)
{
    const char *bad[] = {
        "GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n",
        "GET / HTTP/1.1\r\nA : b\r\n\r\n",
        "GET / HTTP/1.1\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET / x HTTP/1.1\r\n\r\n",
        "G(T / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nnocolon\r\n\r\n",
        "GET / HTTP/1.1\r\n: v\r\n\r\n",
        "\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/1.1\r\nA: \x01\r\n\r\n",
        "GET / HTTP/1.1\rA: b\r\n\r\n",
    };
    struct http_head head;
    struct err err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (http_head_parse(&head, HTTP_REQUEST, bad[i], strlen(bad[i]), &err) != ERR_PROTOCOL)
            fail_msg("accepted: %s", bad[i]);
    static const char nul[] = "GET / HTTP/1.1\r\nA: b\0c\r\n\r\n";
    assert_int_equal(http_head_parse(&head, HTTP_REQUEST, nul, sizeof nul - 1, &err), ERR_PROTOCOL);
}

static void two_body_lengths_are_refused(void **state)
{
    const char *bad[] = {
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct http_head head;
        struct http_body body;
        struct err err;
        assert_true(http_head_parse(&head, HTTP_REQUEST, bad[i], strlen(bad[i]), &err) > 0);
        if (http_body_init(&body, HTTP_REQUEST, &head, &err) != ERR_PROTOCOL)
            fail_msg("accepted: %s", bad[i]);
        http_head_release(&head);
    }
}

/* Decode IN in pieces of STEP bytes. Returns what http_body_feed returned at last. */
static int decode(const char *in, size_t len, size_t step, struct buf *out, struct http_body *body)
{
    *body = (struct http_body){.framing = HTTP_BODY_CHUNKED};
    struct err err;
    for (size_t at = 0; at < len;) {
        size_t n = len - at < step ? len - at : step, used, data_len;
        const char *data;
        int status = http_body_feed(body, in + at, n, &used, &data, &data_len, &err);
        if (status < 0 || body->done)
            return status;
        buf_append(out, data, data_len);
        at += used;
    }
    return 0;
}

static void chunks_are_read_at_any_split(void **state)
{
    static const char text[] = "4\r\nabcd\r\n0A;x=\"y\"\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n";
    for (size_t step = 1; step < sizeof text; step++) {
        AUTO_BUF struct buf out;
        buf_init(&out, 100);
        struct http_body body;
        assert_int_equal(decode(text, sizeof text - 1, step, &out, &body), 0);
        assert_true(body.done);
        assert_string_equal(out.data, "abcd0123456789");
    }
    const char *bad[] = {"\r\n",    "g\r\n",        "1\nx",
                         "1\r\nab", "-1\r\n",       "1234567890abcdef0\r\n",
                         "0x1\r\n", "1\r\na\r\n\n", "0\r\n\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        AUTO_BUF struct buf out;
        buf_init(&out, 100);
        struct http_body body;
        if (decode(bad[i], strlen(bad[i]), 100, &out, &body) != ERR_PROTOCOL)
            fail_msg("accepted: %s", bad[i]);
    }
}

static int note_event(void *arg, const struct sse_event *event)
{
    return buf_appendf(arg, "[%s|%s|%s]", event->type, event->data, event->id);
}

static void events_are_read_at_any_split(void **state)
{
    static const char text[] =
        "\xef\xbb\xbf: comment\n\ndata: a\r\ndata:b\rdata\n\nevent: x\nid: 7\n"
        "data:  c\n\nevent: nothing\n\nretry: 5\nfoo: bar\ndata: d\r\n\r\ndata: cut";
    for (size_t step = 1; step < sizeof text; step++) {
        struct sse sse;
        AUTO_BUF struct buf seen;
        buf_init(&seen, 1000);
        sse_init(&sse, 100);
        struct err err;
        for (size_t at = 0; at < sizeof text - 1; at += step) {
            size_t n = sizeof text - 1 - at < step ? sizeof text - 1 - at : step;
            assert_int_equal(sse_feed(&sse, text + at, n, note_event, &seen, &err), 0);
        }
        assert_string_equal(seen.data, "[message|a\nb\n|][x| c|7][message|d|7]");
        sse_release(&sse);
    }
}

static void an_event_has_a_maximum(void **state)
{
    struct sse sse;
    struct err err;
    sse_init(&sse, 20);
    AUTO_BUF struct buf seen;
    buf_init(&seen, 100);
    assert_int_equal(sse_feed(&sse, "data: 0123456789\n", 17, note_event, &seen, &err), 0);
    assert_int_equal(sse_feed(&sse, "data: 0123456789\n", 17, note_event, &seen, &err), ERR_LIMIT);
    sse_release(&sse);
}

static int note_piece(void *arg, const char *bytes, size_t len)
{
    return bytes ? buf_append(arg, bytes, len) : buf_append_char(arg, '|');
}

static void data_is_read_in_pieces_without_a_maximum(void **state)
{
    static const char text[] =
        "\xef\xbb\xbf"
        "data: a\r\ndata:b\rdata\n\nevent: x\nid: 7\n: long comment\n"
        "data:  c\n\nevent: nothing\n\ndata\n\ndatum: e\ndata : e\ndata: cut";
    for (size_t step = 1; step < sizeof text; step++) {
        struct sse sse;
        AUTO_BUF struct buf seen;
        buf_init(&seen, 1000);
        sse_init(&sse, 0);
        for (size_t at = 0; at < sizeof text - 1; at += step) {
            size_t n = sizeof text - 1 - at < step ? sizeof text - 1 - at : step;
            assert_int_equal(sse_feed_pieces(&sse, text + at, n, note_piece, &seen), 0);
        }
        assert_string_equal(seen.data, "a\nb\n| c||cut");
        sse_release(&sse);
    }
}

static void names_that_are_too_long_are_ignored(void **state)
{
    struct sse sse;
    struct err err;
    sse_init(&sse, 20);
    AUTO_BUF struct buf seen, text;
    buf_init(&seen, 1000);
    buf_init(&text, 10000);
    buf_append_str(&text, "id: 1\nid: a\nid:\nevent: x\nid: 7\nid: nul");
    buf_append(&text, "\0\nevent: ", 9);
    for (int i = 0; i < 1000; i++)
        buf_append_char(&text, 'e');
    buf_append_str(&text, "\ndata: d\n\n");
    assert_int_equal(sse_feed(&sse, text.data, text.len, note_event, &seen, &err), 0);
    assert_string_equal(seen.data, "[x|d|7]");
    sse_release(&sse);
}

static void peers_are_numeric(void **state)
{
    struct http_peer peer;
    struct err err;
    AUTO_FREE char *prefix = NULL, *other = NULL;
    assert_int_equal(http_peer_url(&peer, "http://127.0.0.1:64080/v1/", &prefix, &err), 0);
    assert_string_equal(prefix, "/v1");
    assert_string_equal(peer.host, "127.0.0.1:64080");
    assert_int_equal(ntohs(((struct sockaddr_in *)&peer.address)->sin_port), 64080);
    assert_int_equal(http_peer_url(&peer, "http://[::1]:8080", &other, &err), 0);
    assert_string_equal(other, "");
    const char *bad[] = {
        "https://127.0.0.1/",      "http://example.com/",   "http://",  "http://127.0.0.1:0/",
        "http://127.0.0.1:99999/", "http://127.0.0.1:1/?a", "127.0.0.1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(http_peer_url(&peer, bad[i], &prefix, &err), ERR_USAGE);
}

/* A peer that answers one connection with ANSWER after it has read the whole request. */
static pid_t serve(const char *answer, struct http_peer *peer)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    getsockname(listener, (struct sockaddr *)&address, &len);
    AUTO_FREE char *url = str_format("http://127.0.0.1:%d", ntohs(address.sin_port));
    AUTO_FREE char *prefix = NULL;
    assert_int_equal(http_peer_url(peer, url, &prefix, NULL), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = accept(listener, NULL, NULL);
        char request[65536] = "";
        size_t n = 0;
        while (!strstr(request, "END")) {
            ssize_t got = read(fd, request + n, sizeof request - 1 - n);
            if (got <= 0)
                break;
            n += (size_t)got;
        }
        io_write_all(fd, answer, strlen(answer), NULL);
        if (!*answer) /* silent until the client gives up */
            n = (size_t)read(fd, request, 1);
        _exit(0);
    }
    close(listener);
    return pid;
}

struct seen_call {
    struct loop *loop;
    int http_status, status;
    struct buf data;
    struct err err;
};

static void on_head(void *arg, const struct http_head *head)
{
    ((struct seen_call *)arg)->http_status = head->status;
}

static void on_data(void *arg, const char *bytes, size_t len)
{
    buf_append(&((struct seen_call *)arg)->data, bytes, len);
}

static void on_end(void *arg, int status, const struct err *err)
{
    struct seen_call *seen = arg;
    seen->status = status;
    seen->err = *err;
    loop_stop(seen->loop, 0);
}

static const struct http_call_handlers handlers = {on_head, on_data, on_end};

static void call(struct seen_call *seen, const struct http_peer *peer, const struct iovec *body,
                 size_t body_count)
{
    *seen = (struct seen_call){.loop = loop_new(NULL)};
    buf_init(&seen->data, 1 << 20);
    struct http_request request = {.method = "POST",
                                   .target = "/x",
                                   .body = body,
                                   .body_count = body_count,
                                   .first_byte_timeout_ms = 200};
    http_call_start(seen->loop, peer, &request, &handlers, seen);
    loop_run(seen->loop, NULL);
    loop_free(seen->loop);
}

static void exchange(struct seen_call *seen, const char *answer)
{
    struct http_peer peer;
    pid_t pid = serve(answer, &peer);
    struct iovec body[] = {{"he", 2}, {"", 0}, {"llo END", 7}};
    call(seen, &peer, body, 3);
    waitpid(pid, NULL, 0);
}

static void answers_are_streamed_and_checked(void **state)
{
    static const struct {
        const char *answer;
        int http_status, status;
        const char *data;
    } cases[] = {
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
         "3\r\nabc\r\n0\r\n\r\n",
         200, 0, "abc"},
        {"HTTP/1.1 429 Too Many\r\nContent-Length: 2\r\n\r\nno", 429, 0, "no"},
        {"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, 0, "until the end"},
        {"HTTP/1.1 204 None\r\n\r\n", 204, 0, ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ncut", 200, ERR_PROTOCOL, "cut"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ncut", 200, ERR_PROTOCOL, "cut"},
        {"garbage\r\n\r\n", 0, ERR_PROTOCOL, ""},
        {"", 0, -ETIMEDOUT, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct seen_call seen;
        exchange(&seen, cases[i].answer);
        assert_int_equal(seen.http_status, cases[i].http_status);
        assert_int_equal(seen.status, cases[i].status);
        assert_string_equal(seen.data.data, cases[i].data);
        buf_release(&seen.data);
    }
}

static void a_peer_that_is_not_there_is_told(void **state)
{
    struct http_peer peer;
    struct seen_call seen;
    assert_int_equal(http_peer_unix(&peer, "/nonexistent/socket", NULL), 0);
    call(&seen, &peer, NULL, 0);
    assert_int_equal(seen.status, -ENOENT);

    pid_t pid = serve("x", &peer); /* its port is free once it has gone */
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    call(&seen, &peer, NULL, 0);
    assert_int_equal(seen.status, -ECONNREFUSED);
    assert_non_null(strstr(seen.err.message, "cannot connect to 127.0.0.1:"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_is_read_whole),
        cmocka_unit_test(ambiguous_heads_are_refused),
        cmocka_unit_test(two_body_lengths_are_refused),
        cmocka_unit_test(chunks_are_read_at_any_split),
        cmocka_unit_test(events_are_read_at_any_split),
        cmocka_unit_test(an_event_has_a_maximum),
        cmocka_unit_test(data_is_read_in_pieces_without_a_maximum),
        cmocka_unit_test(names_that_are_too_long_are_ignored),
        cmocka_unit_test(peers_are_numeric),
        cmocka_unit_test(answers_are_streamed_and_checked),
        cmocka_unit_test(a_peer_that_is_not_there_is_told),
    };
    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
