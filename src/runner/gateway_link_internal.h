/* What gateway_link.c (messages) and gateway_process.c (the process) share. */
#ifndef CODEX_RUNNER_GATEWAY_LINK_INTERNAL_H
#define CODEX_RUNNER_GATEWAY_LINK_INTERNAL_H

#include "runner/gateway_link.h"

/* Start a gateway on the control socket as it is. */
int gateway_link_start(struct gateway_link *link, struct err *err);

/* Start another one in place of the one that has died, and tell it what is still true. */
void gateway_link_restart(struct gateway_link *link);

/* No gateway can be had. The first reason counts. */
void gateway_link_break(struct gateway_link *link, const char *why);

/* Send MESSAGE with its payload and, when FD is not -1, a descriptor. */
void gateway_link_post(struct gateway_link *link, const struct gateway_control *message,
                       const void *payload, int fd);
void gateway_link_post_listener(struct gateway_link *link, enum gateway_listener kind);
void gateway_link_post_narrowing(struct gateway_link *link);
void gateway_link_post_stream(struct gateway_link *link, const struct gateway_stream *stream);
void gateway_link_post_stop(struct gateway_link *link, const struct gateway_stream *stream);
void gateway_link_post_ended(struct gateway_link *link);

#endif
