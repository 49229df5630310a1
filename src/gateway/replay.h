/*
 * Recorded turns in the place of a provider: the demo, and an archived task run again. Nothing is
 * remembered between requests: which turn comes next is in the request's conversation (request.h).
 */
#ifndef CODEX_GATEWAY_REPLAY_H
#define CODEX_GATEWAY_REPLAY_H

#include "gateway/config.h"
#include "gateway/provider.h"
#include "loop/loop.h"

/* FD: the replay file, not owned; read when the first request comes. CONFIG stays. */
void replay_open(struct loop *loop, const struct gateway_config *config, int fd,
                 struct provider *out);

#endif
