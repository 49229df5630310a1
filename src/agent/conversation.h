/*
 * The conversation with the model, and its life in the journal.
 *
 * The text is what a request sends (see provider.h). It grows by a person's or the platform's
 * messages, by the model's answers, and by the outputs of the calls in an answer: those enter it
 * together, in the order of the calls, once all are there. Each step is in the journal before it
 * is in the text; opening a journal takes the same steps again, so the text is restored byte for
 * byte.
 *
 * Records of the journal:
 *
 *     {"journal":1,"wire_api":"responses","task":"task-abc123"}   the first
 *     {"session":0,"time":"…"}                    the agent was started, the n-th time
 *     {"user":[ITEM…]}                            messages to the model
 *     {"response":{"usage":[…],"items":[ITEM…]}}  an answer, whole ("paused":true: it goes on)
 *     {"started":"call_id"}                       a call of it was begun
 *     {"output":ITEM}                             a call has ended (on a wire whose outputs are
 *                                                 text alone, "image":[PART…] beside it)
 *     {"ended":true}                              the turn ended without an answer that ends it
 *     {"round":2,"user":[ITEM]}                   it goes on after a verification that failed
 */
#ifndef CODEX_AGENT_CONVERSATION_H
#define CODEX_AGENT_CONVERSATION_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/provider.h"
#include "base/buf.h"
#include "base/err.h"

struct conversation;

enum {
    /* The gateway takes bodies up to 64 MiB; the rest is for the tools and the instructions. */
    CONVERSATION_MAX_BYTES = 60 << 20,
    /* Images that a request holds, at most. Past either, the oldest are left out until no more
     * than half of it is there: the server's cache of the conversation is lost only then. */
    CONVERSATION_IMAGES_MAX = 20,
    CONVERSATION_IMAGES_BYTES = 16 << 20,
    /* All images that the journal takes, which is read whole. */
    CONVERSATION_IMAGES_EVER_BYTES = 64 << 20,
};

/* Open the journal in STATE_DIR_FD, or begin one for TASK, and note a session in it. NULL on
 * failure: ERR_CONFLICT (in use), ERR_PROTOCOL (the journal of another task or wire, or damaged), ERR_LIMIT
 * (as below), else -errno. Calls without an output stay open. */
struct conversation *conversation_open(const struct provider *provider, int state_dir_fd,
                                       const char *task, struct err *err);
void conversation_free(struct conversation *conversation);

/* What a request sends. Stays as it is until the next of the functions below. */
struct json_span conversation_text(const struct conversation *conversation);

bool conversation_is_empty(const struct conversation *conversation);
/* The model's last answer had no call in it and was not paused (or conversation_end() was called),
 * and nothing was said since. */
bool conversation_has_ended(const struct conversation *conversation);
unsigned conversation_session(const struct conversation *conversation); /* from 0 */
/* Of the answers since the last round began. */
const struct token_usage *conversation_usage(const struct conversation *conversation);

/*
 * The steps. Each returns 0, ERR_LIMIT when the conversation would be larger than it may be, or
 * -errno when the journal could not be written.
 */

/* Messages from a person or the platform: all of them, or none. */
int conversation_add_user(struct conversation *conversation, const struct message *messages,
                          size_t count, struct err *err);

/* An answer; its items are taken over (RESPONSE is empty afterwards). Its calls are then open. One
 * without items counts only with its usage. */
int conversation_add_response(struct conversation *conversation, struct response *response,
                              struct err *err);

/* The last answer, until the next step. */
const struct response *conversation_last(const struct conversation *conversation);

/* The turn is over, though no answer ended it. */
int conversation_end(struct conversation *conversation, struct err *err);

/* A new round begins with this message. The one that the present, unfinished round began with
 * (the agent was started twice for it) changes nothing. */
int conversation_begin_round(struct conversation *conversation, struct message message,
                             struct err *err);

/* The calls of the last answer, until all have their output; then 0. */
size_t conversation_calls(const struct conversation *conversation);
const struct item *conversation_call(const struct conversation *conversation, size_t i);

int conversation_call_started(struct conversation *conversation, size_t i, struct err *err);

/* Each call once. IMAGE (NULL: none) is left out, with a note in its place, when there were too many
 * before. */
int conversation_call_output(struct conversation *conversation, size_t i, const char *text,
                             size_t len, const struct image *image, struct err *err);

/* Tell the model of every open call that it was interrupted, or never begun. */
int conversation_interrupt_calls(struct conversation *conversation, struct err *err);

/* See journal.h. */
int conversation_sync(struct conversation *conversation, struct err *err);

#endif
