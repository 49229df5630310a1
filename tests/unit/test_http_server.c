/* The server with short limits, its loop and its clients in one process. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "http/server.h"

enum { SHORT_MS = 150 };

struct world {
    struct loop *loop;
    struct http_server *server;
    struct sockaddr_in address;
    struct http_exchange *exchange; /* the last that was accepted */
    unsigned requests, refused, bodies, writables, gone;
    bool accepts; /* else it replies at once */
};

static void on_request(void *arg, struct http_exchange *exchange, const struct http_head *head)
{
    struct world *world = arg;
    world->requests++;
    if (!world->accepts) {
        http_exchange_reply(exchange, 200, NULL, 0, "whole", 5);
        return;
    }
    world->exchange = exchange;
    http_exchange_accept(exchange, world);
}

static void on_refused(void *arg, struct http_exchange *exchange, int status, const struct err *err)
{
    ((struct world *)arg)->refused++;
    http_exchange_reply(exchange, status, NULL, 0, err->message, strlen(err->message));
}

static void on_body(void *arg)
{
    ((struct world *)arg)->bodies++;
}

static void on_writable(void *arg)
{
    ((struct world *)arg)->writables++;
}

static void on_gone(void *arg)
{
    struct world *world = arg;
    world->gone++;
    world->exchange = NULL;
}

static void open_world(struct world *world, bool accepts)
{
    static const struct http_server_limits limits = {.connections = 3,
                                                     .body_bytes = 1000,
                                                     .head_timeout_ms = SHORT_MS,
                                                     .body_timeout_ms = SHORT_MS,
                                                     .write_timeout_ms = SHORT_MS,
                                                     .linger_timeout_ms = SHORT_MS};
    static const struct http_server_handlers handlers = {on_request, on_refused, on_body,
                                                         on_writable, on_gone};
    *world = (struct world){.loop = loop_new(NULL), .accepts = accepts};
    world->server = http_server_new(world->loop, &limits, &handlers, world);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    world->address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof world->address;
    assert_int_equal(bind(fd, (struct sockaddr *)&world->address, len), 0);
    assert_int_equal(listen(fd, 16), 0);
    getsockname(fd, (struct sockaddr *)&world->address, &len);
    assert_int_equal(http_server_listen(world->server, fd, NULL), 0);
}

static void close_world(struct world *world)
{
    http_server_free(world->server);
    loop_free(world->loop);
}

/* A client that has sent TEXT; the server has seen it. */
static int client(struct world *world, const char *text)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&world->address, sizeof world->address), 0);
    io_set_nonblocking(fd, true);
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    for (int i = 0; i < 5; i++)
        loop_run_once(world->loop, 1, NULL);
    return fd;
}

/* Whether the server closes FD within AT_MOST milliseconds; what it sends before goes to OUT. */
static bool is_closed(struct world *world, int fd, int64_t at_most_ms, struct buf *out)
{
    char bytes[65536];
    for (int64_t end = clock_mono_ms() + at_most_ms; clock_mono_ms() < end;) {
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return true;
        if (n > 0 && out)
            buf_append(out, bytes, (size_t)n);
        loop_run_once(world->loop, 10, NULL);
    }
    return false;
}

static void each_wait_for_the_client_has_an_end(void **state)
{
    static const struct {
        const char *sent;
        bool accepts;
    } cases[] = {
        {"", true},
        {"POST / HTTP/1.1\r\nHost: a\r\n", true},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc", true},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world world;
        open_world(&world, cases[i].accepts);
        int64_t began = clock_mono_ms();
        int fd = client(&world, cases[i].sent);
        if (world.exchange) { /* it takes what there is, and waits for more */
            const char *data;
            while (http_exchange_body(world.exchange, &data, NULL) > 0)
                ;
        }
        assert_true(is_closed(&world, fd, 5000, NULL));
        assert_true(clock_mono_ms() - began >= SHORT_MS - 10);
        assert_int_equal(world.gone, world.requests);
        close(fd);
        close_world(&world);
    }
}

/* The server's own slowness is not the client's fault. */
static void a_client_that_waits_is_not_hurried(void **state)
{
    struct world world;
    open_world(&world, true);
    int fd = client(&world, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde");
    assert_false(is_closed(&world, fd, 3 * SHORT_MS, NULL)); /* its body was not even asked for */
    const char *data;
    assert_int_equal(http_exchange_body(world.exchange, &data, NULL), 5);
    assert_int_equal(http_exchange_body(world.exchange, &data, NULL), 0);
    assert_true(http_exchange_body_done(world.exchange));
    assert_false(is_closed(&world, fd, 3 * SHORT_MS, NULL)); /* nor is there an answer yet */
    assert_int_equal(world.gone, 0);
    struct buf out;
    buf_init(&out, 10000);
    http_exchange_reply(world.exchange, 200, NULL, 0, "late", 4);
    assert_true(is_closed(&world, fd, 5000, &out));
    assert_non_null(strstr(out.data, "Content-Length: 4\r\n\r\nlate"));
    buf_release(&out);
    close(fd);
    close_world(&world);
}

static void a_reader_that_stops_is_left(void **state)
{
    struct world world;
    open_world(&world, true);
    int fd = client(&world, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    http_exchange_begin(world.exchange, 200, NULL, 0);
    static char piece[HTTP_WRITE_MAX];
    unsigned written = 0;
    for (; http_exchange_writable(world.exchange) && written < 1000; written++)
        http_exchange_write(world.exchange, piece, sizeof piece);
    assert_true(written < 1000); /* the sockets hold a few megabytes at most */
    int64_t began = clock_mono_ms();
    while (!world.gone && clock_mono_ms() - began < 5000)
        loop_run_once(world.loop, 10, NULL);
    assert_int_equal(world.gone, 1);
    assert_true(clock_mono_ms() - began >= SHORT_MS - 10);
    close(fd);
    close_world(&world);
}

static void writing_goes_on_when_there_is_room(void **state)
{
    struct world world;
    open_world(&world, true);
    int fd = client(&world, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    http_exchange_begin(world.exchange, 200, NULL, 0);
    static char piece[HTTP_WRITE_MAX];
    memset(piece, 'x', sizeof piece);
    unsigned written = 0;
    struct buf out;
    buf_init(&out, 64 << 20);
    while (written < 200) {
        if (http_exchange_writable(world.exchange)) {
            http_exchange_write(world.exchange, piece, sizeof piece);
            written++;
            continue;
        }
        char bytes[65536];
        ssize_t n;
        while ((n = recv(fd, bytes, sizeof bytes, 0)) > 0)
            buf_append(&out, bytes, (size_t)n);
        loop_run_once(world.loop, 10, NULL);
        assert_int_equal(world.gone, 0);
    }
    assert_true(world.writables > 0);
    http_exchange_finish(world.exchange);
    assert_true(is_closed(&world, fd, 5000, &out));
    size_t xs = 0;
    for (size_t i = 0; i < out.len; i++)
        xs += out.data[i] == 'x';
    assert_int_equal(xs, 200 * (size_t)HTTP_WRITE_MAX);
    assert_memory_equal(out.data + out.len - 5, "0\r\n\r\n", 5);
    buf_release(&out);
    close(fd);
    close_world(&world);
}

/* Three connections are the limit: the oldest without a request gives way, one with a request
 * never. */
static void the_oldest_idle_connection_gives_way(void **state)
{
    struct world world;
    open_world(&world, true);
    static const char request[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab";
    int kept = client(&world, request), idle = client(&world, ""), second = client(&world, request);
    int third = client(&world, request);
    assert_int_equal(world.requests, 3);
    assert_true(is_closed(&world, idle, 50, NULL));
    int fourth = client(&world, request);
    assert_int_equal(world.requests, 3);
    assert_true(is_closed(&world, fourth, 50, NULL));
    assert_false(is_closed(&world, kept, 10, NULL));
    assert_int_equal(world.gone, 0);
    int fds[] = {kept, idle, second, third, fourth};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        close(fds[i]);
    for (int i = 0; i < 5; i++)
        loop_run_once(world.loop, 1, NULL);
    assert_int_equal(world.gone, 3);
    close_world(&world);
}

/* What was answered with an error while the client still sends is not taken back by a reset. */
static void an_answer_lingers(void **state)
{
    struct world world;
    open_world(&world, false);
    int fd = client(&world, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\nabc");
    assert_int_equal(send(fd, "more", 4, MSG_NOSIGNAL), 4);
    struct buf out;
    buf_init(&out, 10000);
    assert_true(is_closed(&world, fd, 5000, &out));
    assert_non_null(strstr(out.data, "\r\n\r\nwhole"));
    buf_release(&out);
    close(fd);
    close_world(&world);
}

/* A handler may end the exchange wherever it is called. */
static void an_exchange_can_be_aborted(void **state)
{
    struct world world;
    open_world(&world, true);
    int fd = client(&world, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    http_exchange_begin(world.exchange, 200, NULL, 0);
    http_exchange_write(world.exchange, "cut", 3);
    http_exchange_abort(world.exchange);
    struct buf out;
    buf_init(&out, 10000);
    assert_true(is_closed(&world, fd, 1000, &out));
    assert_non_null(strstr(out.data, "3\r\ncut\r\n"));
    assert_null(strstr(out.data, "0\r\n\r\n"));
    assert_int_equal(world.gone, 0);
    buf_release(&out);
    close(fd);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_wait_for_the_client_has_an_end),
        cmocka_unit_test(a_client_that_waits_is_not_hurried),
        cmocka_unit_test(a_reader_that_stops_is_left),
        cmocka_unit_test(writing_goes_on_when_there_is_room),
        cmocka_unit_test(the_oldest_idle_connection_gives_way),
        cmocka_unit_test(an_answer_lingers),
        cmocka_unit_test(an_exchange_can_be_aborted),
    };
    return cmocka_run_group_tests_name("http server", tests, NULL, NULL);
}
