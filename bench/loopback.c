#include "loopback.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/io.h"
#include "base/process.h"
#include "base/str.h"

_Noreturn void die(const char *what)
{
    fprintf(stderr, "benchmark: %s: %s\n", what, strerror(errno));
    exit(1);
}

int listen_anywhere(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 64) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        die("cannot listen");
    *port = ntohs(address.sin_port);
    return fd;
}

int connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)port)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("cannot connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

void start_gateway(struct bench_gateway *gateway, const char *config, enum gateway_listener kind)
{
    int ends[2], events = open("/tmp", O_TMPFILE | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
    int config_fd = io_memfd("config", config, strlen(config), NULL);
    if (events < 0 || config_fd < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        die("cannot prepare the gateway");
    char *path = str_format("%s/../codex-gateway", process_program_dir());
    const char *const argv[] = {path, NULL};
    const struct process_fd fds[] = {{2, 2},
                                     {ends[1], GATEWAY_FD_CONTROL},
                                     {events, GATEWAY_FD_EVENTS},
                                     {config_fd, GATEWAY_FD_CONFIG}};
    struct process_options options = {.argv = argv, .fds = fds, .fds_count = 4};
    struct err err;
    gateway->pid = process_spawn(&options, &err);
    if (gateway->pid < 0) {
        fprintf(stderr, "benchmark: %s\n", err.message);
        exit(1);
    }
    int listener = listen_anywhere(&gateway->port);
    struct gateway_control message = {.type = GATEWAY_LISTEN, .kind = kind};
    if (io_send_fds(ends[0], &message, sizeof message, &listener, 1, &err) < 0)
        die("cannot send the listener");
    close(listener);
    close(ends[1]);
    close(events);
    close(config_fd);
    free(path);
    gateway->control = ends[0];
}

int stop_gateway(struct bench_gateway *gateway)
{
    close(gateway->control);
    return process_wait(gateway->pid);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void report_ms(const char *name, double *ms, size_t count)
{
    qsort(ms, count, sizeof *ms, compare);
    printf("%-28s p50 %7.3f   p95 %7.3f ms\n", name, ms[count / 2], ms[count * 95 / 100]);
}
