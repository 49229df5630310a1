/* One connection to the proxy, from its request to its end. Private to the proxy. */
#ifndef CODEX_GATEWAY_EGRESS_CONNECTION_H
#define CODEX_GATEWAY_EGRESS_CONNECTION_H

#include "gateway/egress/dial.h"
#include "gateway/egress/flow.h"
#include "gateway/egress/forward.h"
#include "gateway/egress/policy.h"
#include "gateway/egress/record.h"
#include "gateway/egress/target.h"

enum connection_state {
    CONNECTION_HEAD,    /* the request is being read */
    CONNECTION_DIALING, /* the host is being connected to */
    CONNECTION_HELLO,   /* a tunnel is open, and its TLS greeting being read */
    CONNECTION_RELAY,   /* bytes go to and fro */
    CONNECTION_ANSWER,  /* an answer of our own goes out */
    CONNECTION_LINGER, /* it has gone out: an early close could still take it away (RFC 9112, 9.6) */
    CONNECTION_CLOSED,
};

/* A socket, and what is watched of it: nothing is while nothing can be done with it, because a
 * hang-up would be told again and again. */
struct side {
    int fd; /* -1: none */
    struct loop_source *source;
    uint32_t watched;
};

struct connection {
    struct loop *loop;
    const struct egress_policy *policy;
    struct record *record;
    void (*ended)(struct connection *connection); /* about to be freed: take it off all lists */
    void *proxy;
    struct connection *previous, *next;

    enum connection_state state;
    struct side client, server;
    struct loop_source *timer;
    int64_t timer_due_ms, born_ms, progress_ms;
    struct buf in; /* the request's head, later the greeting */
    struct target target;
    struct dial *dial;
    struct forward *forward; /* of a plain request; NULL: a tunnel */
    struct flow up, down;    /* to the host, to the client */
};

/* FD is the connection's. It lives until `ended` is called. NULL (FD closed) when it cannot be had.
 * The caller puts it on its lists, then calls connection_begin(). */
struct connection *connection_new(struct loop *loop, int fd, const struct egress_policy *policy,
                                  struct record *record);
void connection_begin(struct connection *connection);

/* Answer 503 and end, instead of beginning. */
void connection_refuse(struct connection *connection);

/* Whether it can go when others want to come: it has asked for nothing yet, or has its answer. */
bool connection_can_go(const struct connection *connection);

/* End it now, from outside of its own callbacks. */
void connection_free(struct connection *connection);

/* ---- between connection.c and relay.c */

/* Answer with STATUS and a sentence, and end. VERDICT: of a refusal by policy. */
void connection_answer(struct connection *connection, int status, enum egress_verdict verdict,
                       const char *sentence);

/* Refuse by VERDICT: an event, and, where the client still waits for one, an answer. */
void connection_deny(struct connection *connection, enum egress_verdict verdict,
                     const struct net_address *address);

/* Close both sides; it is freed when its callback returns. RESET: the client is to see that what it
 * got is not all. */
void connection_close(struct connection *connection, bool reset);

/* The host's socket is there: begin, and then do what can be done. */
void relay_begin(struct connection *connection, int fd);
void relay_step(struct connection *connection);
void relay_hello(struct connection *connection);

#endif
