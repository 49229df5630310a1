/*
 * A gateway: everything between the runner's messages (task/gateway_control.h), the sandbox's
 * requests and streams, the provider and the event file.
 */
#ifndef CODEX_GATEWAY_GATEWAY_H
#define CODEX_GATEWAY_GATEWAY_H

#include "base/err.h"
#include "gateway/config.h"
#include "loop/loop.h"

struct gateway;

struct gateway_options {
    struct gateway_config *config; /* the repository narrows its `internet` */
    int control_fd, events_fd;
    int replay_fd; /* -1: none came */
    /* For the log: something of the provider's failed. The gateway goes on. */
    void (*trouble)(void *arg, const char *message);
    void *arg;
};

/* OPTIONS is copied, its descriptors are not owned. NULL on failure. */
struct gateway *gateway_new(struct loop *loop, const struct gateway_options *options,
                            struct err *err);

/* Run until the runner closes the control socket, or gateway_stop(). Returns the exit status (enum
 * gateway_exit), with ERR set when it is not GATEWAY_EXIT_DONE. */
int gateway_run(struct gateway *gateway, struct err *err);

/* As if the control socket had been closed. */
void gateway_stop(struct gateway *gateway);

void gateway_free(struct gateway *gateway);

#endif
