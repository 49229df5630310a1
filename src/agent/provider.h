/*
 * The seam to a model server: how a conversation is asked on one kind of wire, and how the answer
 * is read. The turn loop knows only this; a wire is a table of functions below providers/.
 *
 * A conversation is kept as JSON text in the wire's own shape, one item after the other, divided by
 * commas. It is only ever appended to, and sent as it stands, so a late turn costs what an early
 * one costs. What the model said goes into it byte for byte.
 */
#ifndef CODEX_AGENT_PROVIDER_H
#define CODEX_AGENT_PROVIDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "agent/events.h"
#include "agent/failure.h"
#include "agent/tool.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json_text.h"
#include "task/usage.h"

enum {
    ANSWER_MAX_BYTES = 16 << 20, /* of one event of the stream, and of all items of an answer */
    ANSWER_MAX_ITEMS = 1024,
};

enum item_kind {
    ITEM_OTHER, /* kept and sent back, nothing else */
    ITEM_MESSAGE,
    ITEM_REASONING,
    ITEM_CALL,
};

/* One item that the model said. All strings are owned. */
struct item {
    enum item_kind kind;
    char *json; /* as it came (line ends between tokens made spaces), without one at its end; a
                 * function's arguments that are no JSON object are wrapped into one */
    size_t json_len;
    char *text;      /* MESSAGE, REASONING: for a person; "" when there is none */
    char *call_id;   /* CALL: never empty */
    char *name;      /* CALL */
    char *arguments; /* CALL: the text that the model wrote; may hold NUL bytes */
    size_t arguments_len;
    bool custom; /* CALL: of the freeform kind: `arguments` is the input itself */
    bool cut;    /* CALL: the server says that it is not whole */
};

void item_release(struct item *item);

/* What the model answered to one request. */
struct response {
    struct item *items;
    size_t count;
    struct token_usage usage;
};

void response_release(struct response *response);
void response_drop_items(struct response *response); /* the usage stays */

/* Hand over an item: ITEM is empty afterwards. */
void response_add(struct response *response, struct item *item);

enum answer_state {
    ANSWER_OPEN,      /* no terminal event yet */
    ANSWER_WHOLE,     /* `response` holds */
    ANSWER_CUT_SHORT, /* the output limit ended it: `response` holds only its usage */
    ANSWER_FAILED,    /* `failure` holds */
};

/* An answer while it is read. A provider allocates it, with what it needs behind. */
struct answer {
    enum answer_state state;
    uint64_t events; /* that have come, of whatever type: a sign of life, unlike mere bytes */
    struct response response;
    struct failure failure;
};

/* What a request says beside the conversation. All of it outlives the agent's requests. */
struct request_settings {
    const char *model;
    const char *effort; /* NULL: a model without reasoning */
    const char *cache_key;
    const char *instructions;
    const struct tool_group *groups;
    size_t groups_count;
};

struct provider {
    const char *wire_api; /* its name */
    const char *path;     /* behind the base URL */

    /* The request's body before and behind the conversation. LEFT_OUT: optional members that this
     * server refused, from `optional`. */
    void (*frame)(const struct request_settings *settings, unsigned left_out, struct buf *head,
                  struct buf *tail);
    /* The bit of what the server refused with FAILURE, if a request for MODEL can do without it (or
     * say it in another way), else 0. */
    unsigned (*optional)(const char *model, const struct failure *failure);

    /* Append an item to OUT: what a person or the platform says; the answer to CALL. Negative when
     * OUT is full. */
    int (*user_message)(struct buf *out, const char *text, size_t len);
    int (*call_output)(struct buf *out, const struct item *call, const char *text, size_t len);

    /* Fill ITEM from JSON, whose bytes are RAW. ERR_PROTOCOL when it lacks what its type needs. */
    int (*read_item)(struct item *item, const json_t *json, struct json_span raw, struct err *err);

    /* Read an answer's body. `feed` takes the next bytes, of any number; nothing more is read once
     * the state is not ANSWER_OPEN. `end`: the body has ended; an answer still open fails. */
    struct answer *(*answer_new)(void);
    void (*answer_feed)(struct answer *answer, const char *bytes, size_t len);
    void (*answer_end)(struct answer *answer);
    void (*answer_free)(struct answer *answer); /* NULL is fine */
};

/* providers/responses.c: OpenAI's Responses API */
extern const struct provider provider_responses;

#endif
