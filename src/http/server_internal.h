/* What the two halves of the server share: reading (server.c) and answering (server_answer.c). */
#ifndef CODEX_HTTP_SERVER_INTERNAL_H
#define CODEX_HTTP_SERVER_INTERNAL_H

#include "base/buf.h"
#include "http/server.h"

enum exchange_state {
    READING_HEAD,
    OPEN,      /* accepted or to be refused: the handlers' */
    FLUSHING,  /* answered: what is written must still go out */
    LINGERING, /* answered: an early close could still take the answer away (RFC 9112, 9.6) */
    CLOSED,
};

struct http_exchange {
    struct http_server *server;
    struct http_exchange *previous, *next; /* in server->oldest … newest */
    int fd;
    enum exchange_state state;
    struct loop_source *source, *timer;
    uint32_t watched;
    int64_t progress_ms; /* when the client last did its part, or was given a new one */
    int64_t timer_due_ms;
    struct buf in; /* what was read and not yet decoded: at most a head and one read */
    size_t in_used;
    struct buf out;
    size_t out_sent;
    struct http_body body;
    int64_t body_length; /* -1: in chunks */
    uint64_t body_total;
    bool accepted;
    bool hungry;           /* the handler has asked for more of the body than had come */
    bool is_head;          /* HEAD: an answer has no body */
    bool expects_continue; /* it waits for "100 Continue" before it sends its body */
    bool no_body;          /* of the answer: HEAD, 204, 304 */
    bool broken;           /* a write failed */
    bool in_handler;       /* it is freed when the handler returns, not before */
    void *user;
};

/* Watch the socket for what the exchange waits for now, and its deadline. */
void exchange_update(struct http_exchange *exchange);

void exchange_close(struct http_exchange *exchange);

/* Send what waits in `out`, as far as the socket takes it. */
void exchange_flush(struct http_exchange *exchange);

/* An answer that has gone out whole: wait for the client's end of the connection. */
void exchange_settle(struct http_exchange *exchange);

/* Send the interim answer that lets the body come. */
void exchange_send_continue(struct http_exchange *exchange);

#endif
