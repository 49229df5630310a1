/*
 * Reading the body of an answer, on whatever wire: a stream of events, or, from a server that does
 * not stream, one JSON object. It is cut into events and parsed here; a wire says what they mean.
 *
 * An answer is used only after the wire has called it whole. An event that could not be read is
 * remembered (body_lose): the wire may find what was lost elsewhere, or the answer is broken.
 */
#ifndef CODEX_AGENT_PROVIDERS_BODY_H
#define CODEX_AGENT_PROVIDERS_BODY_H

#include "agent/provider.h"
#include "http/sse.h"

struct body;

struct body_reader {
    /* Leave out the event, whose data is not even parsed. NULL: none is left out. */
    bool (*skips)(struct body *body, const struct sse_event *event);
    /* EVENT is a JSON object, RAW its bytes, NAME what the stream calls it. */
    void (*event)(struct body *body, const char *name, const json_t *event, struct json_span raw);
    /* The whole body is this object. */
    void (*object)(struct body *body, const json_t *object, struct json_span raw);
    /* The stream has ended without a terminal event. NULL: that breaks it. */
    void (*end)(struct body *body);
    void (*release)(struct body *body); /* what the wire has allocated. NULL: nothing */
};

/* A wire's answer starts with it. */
struct body {
    struct answer base; /* first: a provider's answer starts with it */
    const struct body_reader *reader;
    enum { BODY_UNKNOWN, BODY_STREAM, BODY_OBJECT } kind;
    struct sse sse;
    struct buf object;
    size_t stream_bytes;
    size_t item_bytes;
    bool lost;     /* an event could not be read */
    char why[800]; /* the first that could not */
};

/* An answer of SIZE bytes, of which a struct body is the first part; the rest is zero. */
struct body *body_new(const struct body_reader *reader, size_t size);

/* The provider's functions. */
void body_feed(struct answer *answer, const char *bytes, size_t len);
void body_end(struct answer *answer);
void body_free(struct answer *answer);

/* The answer is broken, for this reason. */
void body_fail(struct body *body, const char *why);
/* An error that the server reports: {"code", "message"}, or a text. */
void body_fail_for(struct body *body, const json_t *error);
/* Something of it could not be read. */
void body_lose(struct body *body, const char *why);

/* Another LEN bytes belong to the answer's items. False: too many, and the answer is broken. */
bool body_has_room(struct body *body, size_t len);

/* Append the item in JSON, whose bytes are RAW, as PROVIDER reads it. */
void body_take_item(struct body *body, const struct provider *provider, const json_t *json,
                    struct json_span raw);

/* The output limit has ended the answer. */
void body_cut_short(struct body *body);

/* All is there: whole, unless something was lost, or two calls have one id. */
void body_finish(struct body *body);

/* A figure of a usage object; 0 for what is none. */
int64_t body_figure(const json_t *object, const char *name);

#endif
