/* Sockets in the network namespace of a sandbox, made from outside. */
#ifndef CODEX_SANDBOX_NETNS_H
#define CODEX_SANDBOX_NETNS_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Bring `lo` up in the network namespace of process PID and listen on 127.0.0.1:PORT there. Returns
 * the socket (non-blocking). */
int netns_listen(pid_t pid, uint16_t port, struct err *err);

/* Only bring `lo` up. */
int netns_loopback_up(pid_t pid, struct err *err);

#endif
