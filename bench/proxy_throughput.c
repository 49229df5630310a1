/*
 * What the gateway's proxy costs: a connection with one small exchange, and many bytes in one
 * connection, from a server on loopback, straight, through a tunnel (CONNECT), and as a plain
 * request. In turns; prints medians and 95th percentiles in milliseconds, and throughput.
 *
 *     bench-proxy [COUNT (1000)] [MEGABYTES (1024)]
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/str.h"
#include "loopback.h"

enum { WARM_UP = 20, PIECE = 262144, ROUNDS = 3 };

enum way { STRAIGHT, TUNNEL, PLAIN, WAYS };
static const char *const way_names[WAYS] = {"straight", "tunnel", "plain request"};

/* Read a head from FD. Returns what follows its first space, as a number. */
static unsigned long read_head(int fd)
{
    char head[4096];
    size_t len = 0;
    while (len < 4 || memcmp(head + len - 4, "\r\n\r\n", 4) != 0) {
        if (len == sizeof head - 1 || read(fd, head + len, 1) != 1)
            die("no head");
        len++;
    }
    head[len] = '\0';
    const char *space = strchr(head, ' ');
    return space ? strtoul(space + 1 + strspn(space + 1, "/"), NULL, 10) : 0;
}

/* "GET /N": N bytes. One connection after the other. */
static _Noreturn void serve(int listener)
{
    static char piece[PIECE];
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            exit(1);
        size_t left = read_head(fd);
        char *head = str_format("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", left);
        io_write_all(fd, head, strlen(head), NULL);
        free(head);
        for (size_t part; left; left -= part) {
            part = left < sizeof piece ? left : sizeof piece;
            if (io_write_all(fd, piece, part, NULL) < 0)
                break;
        }
        close(fd);
    }
}

/* Get BYTES from the server; milliseconds from the connection to the last byte. */
static double get(enum way way, int server_port, int proxy_port, size_t bytes)
{
    static char piece[PIECE];
    int64_t began_us = clock_mono_us();
    int fd = connect_to(way == STRAIGHT ? server_port : proxy_port);
    if (way == TUNNEL) {
        char *connect = str_format("CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n", server_port);
        io_write_all(fd, connect, strlen(connect), NULL);
        free(connect);
        if (read_head(fd) != 200)
            die("no tunnel");
    }
    char *request = way == PLAIN ? str_format("GET http://127.0.0.1:%d/%zu HTTP/1.1\r\n\r\n",
                                              server_port, bytes)
                                 : str_format("GET /%zu HTTP/1.1\r\nHost: x\r\n\r\n", bytes);
    io_write_all(fd, request, strlen(request), NULL);
    free(request);
    if (read_head(fd) != 200)
        die("no answer");
    for (size_t left = bytes; left;) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n <= 0)
            die("the answer was cut");
        left -= (size_t)n;
    }
    double ms = (double)(clock_mono_us() - began_us) / 1000;
    close(fd);
    return ms;
}

static void latency(int server_port, int proxy_port, size_t count)
{
    double *ms = calloc(WAYS * count, sizeof *ms);
    if (!ms)
        die("no memory");
    for (size_t i = 0; i < count + WARM_UP; i++)
        for (int way = 0; way < WAYS; way++)
            ms[(size_t)way * count + (i < WARM_UP ? 0 : i - WARM_UP)] =
                get(way, server_port, proxy_port, 100);
    for (int way = 0; way < WAYS; way++) {
        char *name = str_format("100 bytes, %s", way_names[way]);
        report_ms(name, ms + (size_t)way * count, count);
        free(name);
    }
    free(ms);
}

static void throughput(int server_port, int proxy_port, size_t megabytes)
{
    double best[WAYS] = {0};
    for (int round = 0; round < ROUNDS; round++)
        for (int way = 0; way < WAYS; way++) {
            double rate =
                (double)megabytes * 1000 / get(way, server_port, proxy_port, megabytes << 20);
            best[way] = rate > best[way] ? rate : best[way];
        }
    for (int way = 0; way < WAYS; way++)
        printf("%zu MiB, %-18s %8.0f MiB/s\n", megabytes, way_names[way], best[way]);
}

int main(int argc, char **argv)
{
    size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
    size_t megabytes = argc > 2 ? strtoul(argv[2], NULL, 10) : 1024;
    int server_port, listener = listen_anywhere(&server_port);
    signal(SIGPIPE, SIG_IGN);
    pid_t server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(listener);
    }
    close(listener);
    struct bench_gateway gateway;
    char *config = str_format("{\"task\":\"task-bench1\",\"wire_api\":\"none\",\"internet\":"
                              "{\"access\":\"public\",\"allow_private\":[\"127.0.0.1:%d\"]}}",
                              server_port);
    start_gateway(&gateway, config, GATEWAY_LISTENER_PROXY);
    free(config);
    latency(server_port, gateway.port, count);
    throughput(server_port, gateway.port, megabytes);
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    return stop_gateway(&gateway) == 0 ? 0 : 1;
}
