/*
 * One request of the sandbox for the model, from its accepted head to the end of its answer: the
 * body is checked as it passes to the provider, the answer is metered as it passes to the client,
 * and the provider's key is kept out of it.
 */
#ifndef CODEX_GATEWAY_CALL_H
#define CODEX_GATEWAY_CALL_H

#include "gateway/budget.h"
#include "gateway/config.h"
#include "gateway/provider.h"
#include "http/server.h"
#include "loop/loop.h"

/* What all calls of a gateway share. */
struct call_context {
    struct loop *loop;
    const struct gateway_config *config;
    struct budget *budget;
    uint64_t body_max; /* bytes of a request */
    const struct provider *provider;
    void (*trouble)(void *arg, const char *message); /* for the log: the provider failed */
    void *arg;
    unsigned open; /* calls at this moment */
};

/* Take EXCHANGE on, whose request has this HEAD. Its handlers are called with the call. */
void call_open(struct call_context *context, struct http_exchange *exchange,
               const struct http_head *head);

/* From the server's handlers. */
void call_on_body(void *call);
void call_on_writable(void *call);
void call_on_gone(void *call);

/* Answer EXCHANGE, which is no call, with ERROR; STATUS 0: the error's own. */
void call_refuse(struct http_exchange *exchange, enum api_error error, int status,
                 const char *message);

#endif
