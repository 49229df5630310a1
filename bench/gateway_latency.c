/*
 * What codex-gateway adds to a request for the model: the same request to a provider on loopback,
 * straight and through the gateway, in turns. Each is a connection of its own, as the agent makes
 * them. Prints medians and 95th percentiles in milliseconds, until the answer's first event and
 * until its end; and how long the gateway takes from its start until it can answer.
 *
 *     bench-gateway [COUNT (1000)] [KILOBYTES of request (200)] [KILOBYTES of answer (20)]
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/str.h"
#include "loopback.h"

#define KEY "sandbox-key-of-the-benchmark"

enum { WARM_UP = 20, CONNECTIONS_MAX = 64, PIECE = 4096 };

/* ---- the provider: one process, kept connections, an answer in pieces */

/* Read one request. Returns false when the client has gone. */
static bool take_request(int fd)
{
    char bytes[65536];
    size_t have = 0, want = sizeof bytes;
    while (have < want) {
        ssize_t n = read(fd, bytes + have, sizeof bytes - 1 - have);
        if (n <= 0)
            return false;
        have += (size_t)n;
        bytes[have] = '\0';
        const char *end = strstr(bytes, "\r\n\r\n"),
                   *length = strcasestr(bytes, "content-length: ");
        if (end && length) {
            size_t left = (size_t)(end + 4 - bytes) + strtoul(length + 16, NULL, 10) - have;
            while (left) {
                n = read(fd, bytes, left < sizeof bytes ? left : sizeof bytes);
                if (n <= 0)
                    return false;
                left -= (size_t)n;
            }
            return true;
        }
    }
    return false;
}

static void give_answer(int fd, size_t kilobytes)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    char piece[PIECE + 64];
    int n = snprintf(piece, sizeof piece,
                     "%x\r\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"", PIECE);
    memset(piece + n, 'x', sizeof piece - (size_t)n);
    size_t begin = (size_t)(strchr(piece, '\n') + 1 - piece);
    memcpy(piece + begin + PIECE - 4, "\"}\n\n", 4);
    memcpy(piece + begin + PIECE, "\r\n", 2);
    io_write_all(fd, head, sizeof head - 1, NULL);
    for (size_t i = 0; i < kilobytes / (PIECE / 1024) || i == 0; i++)
        io_write_all(fd, piece, begin + PIECE + 2, NULL);
    io_write_all(fd, "0\r\n\r\n", 5, NULL);
}

static _Noreturn void provide(int listener, size_t kilobytes)
{
    struct pollfd fds[CONNECTIONS_MAX] = {{.fd = listener, .events = POLLIN}};
    nfds_t count = 1;
    int on = 1;
    for (;;) {
        if (poll(fds, count, -1) < 0)
            exit(1);
        if ((fds[0].revents & POLLIN) && count < CONNECTIONS_MAX) {
            fds[count++] = (struct pollfd){.fd = accept(listener, NULL, NULL), .events = POLLIN};
            setsockopt(fds[count - 1].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        }
        for (nfds_t i = 1; i < count; i++) {
            if (!fds[i].revents)
                continue;
            if (take_request(fds[i].fd)) {
                give_answer(fds[i].fd, kilobytes);
            } else {
                close(fds[i].fd);
                fds[i--] = fds[--count];
            }
        }
    }
}

static pid_t start_provider(size_t kilobytes, int *port)
{
    int listener = listen_anywhere(port);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        provide(listener, kilobytes);
    }
    close(listener);
    return pid;
}

/* ---- the gateway */

static void start(struct bench_gateway *gateway, int provider_port)
{
    char *config = str_format(
        "{\"task\":\"task-bench1\",\"wire_api\":\"responses\",\"base_url\":\"http://127.0.0.1:%d/"
        "v1\","
        "\"key\":\"real\",\"model\":\"m\",\"sandbox_key\":\"" KEY "\",\"budget_tokens\":null,"
        "\"used_tokens\":0,\"first_byte_timeout_ms\":10000,\"idle_timeout_ms\":10000}",
        provider_port);
    start_gateway(gateway, config, GATEWAY_LISTENER_MODEL);
    free(config);
}

/* ---- the client */

struct times {
    double first_ms, whole_ms;
};

static struct times ask(int port, const struct buf *request)
{
    static char bytes[65536];
    int64_t began_us = clock_mono_us();
    int fd = connect_to(port);
    if (io_write_all(fd, request->data, request->len, NULL) < 0)
        die("cannot send");
    struct times times = {0};
    bool ended = false;
    char tail[5] = "";
    ssize_t n;
    while (!ended && (n = read(fd, bytes, sizeof bytes)) > 0) {
        if (!times.first_ms && memmem(bytes, (size_t)n, "data: ", 6))
            times.first_ms = (double)(clock_mono_us() - began_us) / 1000;
        size_t keep = (size_t)n < 5 ? (size_t)n : 5;
        memmove(tail, tail + keep, 5 - keep);
        memcpy(tail + 5 - keep, bytes + n - keep, keep);
        ended = !memcmp(tail, "0\r\n\r\n", 5);
    }
    times.whole_ms = (double)(clock_mono_us() - began_us) / 1000;
    if (!ended || !times.first_ms) {
        fprintf(stderr, "bench-gateway: no whole answer: %.200s\n", bytes);
        exit(1);
    }
    close(fd);
    return times;
}

static void write_request(struct buf *out, size_t kilobytes)
{
    size_t text = kilobytes * 1024;
    buf_init(out, text + 1024);
    buf_appendf(out,
                "POST /v1/responses HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer " KEY "\r\n"
                "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n"
                "{\"model\":\"m\",\"stream\":true,\"input\":\"",
                text + strlen("{\"model\":\"m\",\"stream\":true,\"input\":\"\"}"));
    for (size_t i = 0; i < text; i++)
        buf_append_char(out, 'x');
    buf_append_str(out, "\"}");
}

int main(int argc, char **argv)
{
    size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
    struct buf request;
    write_request(&request, argc > 2 ? strtoul(argv[2], NULL, 10) : 200);
    int provider_port;
    struct bench_gateway gateway;
    pid_t provider = start_provider(argc > 3 ? strtoul(argv[3], NULL, 10) : 20, &provider_port);
    int64_t began_us = clock_mono_us();
    start(&gateway, provider_port);
    ask(gateway.port, &request);
    printf("%-28s     %7.3f ms\n", "start to first answer",
           (double)(clock_mono_us() - began_us) / 1000);

    static const char *const names[] = {"straight, first event", "straight, whole answer",
                                        "gateway, first event",  "gateway, whole answer",
                                        "added, first event",    "added, whole answer"};
    double *ms = calloc(6 * (count + 1), sizeof *ms);
    if (!ms)
        die("no memory");
    for (size_t i = 0; i < count + WARM_UP; i++) {
        struct times straight = ask(provider_port, &request), through = ask(gateway.port, &request);
        size_t at = i < WARM_UP ? 0 : i - WARM_UP;
        ms[at] = straight.first_ms;
        ms[count + at] = straight.whole_ms;
        ms[2 * count + at] = through.first_ms;
        ms[3 * count + at] = through.whole_ms;
        ms[4 * count + at] = through.first_ms - straight.first_ms;
        ms[5 * count + at] = through.whole_ms - straight.whole_ms;
    }
    for (int i = 0; i < 6; i++)
        report_ms(names[i], ms + (size_t)i * count, count);
    free(ms);
    buf_release(&request);
    kill(provider, SIGKILL);
    waitpid(provider, NULL, 0);
    return stop_gateway(&gateway) == 0 ? 0 : 1;
}
