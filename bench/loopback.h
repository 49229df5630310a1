/* What the benchmarks of the gateway share: sockets on loopback, and a gateway. They end the program
 * when something fails. */
#ifndef CODEX_BENCH_LOOPBACK_H
#define CODEX_BENCH_LOOPBACK_H

#include <stddef.h>
#include <sys/types.h>

#include "task/gateway_control.h"

_Noreturn void die(const char *what);

int listen_anywhere(int *port);
int connect_to(int port);

struct bench_gateway {
    pid_t pid;
    int control; /* close it to end the gateway */
    int port;    /* of its listener */
};

/* A gateway with the gateway.json CONFIG, and one listener. */
void start_gateway(struct bench_gateway *gateway, const char *config, enum gateway_listener kind);

/* End it; returns its exit status. */
int stop_gateway(struct bench_gateway *gateway);

/* Sort, and print the median and the 95th percentile. */
void report_ms(const char *name, double *ms, size_t count);

#endif
