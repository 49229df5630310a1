/*
 * The seam to a model server: how a conversation is asked on one kind of wire, and how the answer
 * is read. The turn loop knows only this; a wire is a table of functions below providers/.
 *
 * A conversation is kept as JSON text in the wire's own shape, one element after the other, divided
 * by commas. It is only ever appended to, and sent as it stands, so a late turn costs what an early
 * one costs. What the model said goes into it unchanged: byte for byte where the wire brings it
 * whole, put together from its pieces where it comes in pieces.
 */
#ifndef CODEX_AGENT_PROVIDER_H
#define CODEX_AGENT_PROVIDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "agent/events.h"
#include "agent/failure.h"
#include "agent/image.h"
#include "agent/tool.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json_text.h"
#include "http/message.h"
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
    char *json; /* as it goes back, on one line; a function's arguments that are no JSON object are
                 * wrapped into one. NULL: it is in the `json` of an item before it (a wire whose
                 * answer is one message) */
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
    bool paused; /* the server has interrupted itself: asked again as it stands, it goes on */
};

void response_release(struct response *response);
void response_drop_items(struct response *response); /* the usage stays */

/* Hand over an item: ITEM is empty afterwards. */
void response_add(struct response *response, struct item *item);

/* Two calls with one id cannot be answered apart. */
bool response_ids_are_unique(const struct response *response);

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

/* What a person or the platform says: any bytes. */
struct message {
    const char *text;
    size_t len;
};

/* What stands around several items to make them one element of the conversation; "" both, when each
 * is one. */
struct brackets {
    const char *open, *close;
};

enum { PROVIDER_HEADERS_MAX = 4 };

/* Of what a server refuses, on every wire: images. The other bits are the wire's own. */
enum { LEFT_OUT_IMAGES = 1 << 30 };

struct provider {
    const char *wire_api; /* its name */
    const char *path;     /* behind the base URL */

    /* The request's own headers into OUT; returns how many. Values are static. NULL: none. */
    size_t (*headers)(const struct request_settings *settings, unsigned left_out,
                      struct http_header out[PROVIDER_HEADERS_MAX]);

    /* The request's body before and behind the conversation. LEFT_OUT: what this server refused,
     * from `optional`. */
    void (*frame)(const struct request_settings *settings, unsigned left_out, struct buf *head,
                  struct buf *tail);
    /* What to add to LEFT_OUT after FAILURE, if a request for MODEL can do without what the server
     * refused (or say it in another way), else 0. */
    unsigned (*optional)(const char *model, unsigned left_out, const struct failure *failure);
    /* The conversation as a server takes it that refused LEFT_OUT, into OUT; false: as it is. NULL:
     * always as it is. */
    bool (*adapt)(struct json_span conversation, unsigned left_out, struct buf *out);

    /* Append to OUT: messages of a person or the platform, one or more elements, divided by commas;
     * the output of CALL, with IMAGE (may be NULL) in it. Negative when OUT is full. */
    int (*user_messages)(struct buf *out, const struct message *messages, size_t count);
    int (*call_output)(struct buf *out, const struct item *call, const char *text, size_t len,
                       const struct image *image);
    const char *output_id; /* the member of an output that names its call */
    struct brackets answer, outputs;

    /* A wire whose outputs hold text alone: `call_output` leaves the image out, and this appends it
     * in parts, divided by commas, of an element of its own, `images`, behind all outputs of an
     * answer. NULL: not needed. */
    int (*output_image)(struct buf *out, const struct item *call, const struct image *image);
    struct brackets images;
    struct image_form image; /* how one looks in the conversation */

    /* Append to RESPONSE the items that JSON holds, whose bytes are RAW: one that stood as
     * `item.json`, or as it comes in an answer. ERR_PROTOCOL when it lacks what its type needs. */
    int (*read_item)(struct response *response, const json_t *json, struct json_span raw,
                     struct err *err);

    /* Read an answer's body. `feed` takes the next bytes, of any number; nothing more is read once
     * the state is not ANSWER_OPEN. `end`: the body has ended; an answer still open fails. */
    struct answer *(*answer_new)(void);
    void (*answer_feed)(struct answer *answer, const char *bytes, size_t len);
    void (*answer_end)(struct answer *answer);
    void (*answer_free)(struct answer *answer); /* NULL is fine */
};

extern const struct provider provider_responses; /* OpenAI's Responses API */
extern const struct provider provider_chat;      /* Chat Completions, as many servers speak it */
extern const struct provider provider_messages;  /* Anthropic's Messages API */

/* The wire of that name, or NULL. */
const struct provider *provider_find(const char *wire_api);

#endif
