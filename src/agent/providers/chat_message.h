/*
 * Chat Completions: the message of an answer while it comes in pieces. Between chat_stream.c, which
 * reads the chunks, and chat_message.c, which puts their pieces together.
 */
#ifndef CODEX_AGENT_PROVIDERS_CHAT_MESSAGE_H
#define CODEX_AGENT_PROVIDERS_CHAT_MESSAGE_H

#include "agent/providers/body.h"
#include "agent/providers/chat.h"

struct chat_call {
    json_int_t index; /* -1: the server gives none */
    struct buf id, name, arguments;
    bool has_arguments;
    json_t *more; /* other members, which the server wants back (Google's signatures) */
};

struct chat_answer {
    struct body body; /* first */
    struct buf content, refusal;
    struct buf thoughts[CHAT_THOUGHTS]; /* those that are text */
    bool has_content, has_thoughts[CHAT_THOUGHTS];
    json_t *details; /* those that are a list; NULL: none */
    json_t *more;    /* other members of the message that go back; NULL: none */
    struct chat_call *calls;
    size_t calls_count;
    char finish_reason[48]; /* "": not finished */
};

void chat_message_init(struct chat_answer *answer);
void chat_message_release(struct chat_answer *answer);

/* DELTA is the next piece of the message, or the whole of it. What cannot be read is lost. */
void chat_message_take(struct chat_answer *answer, const json_t *delta);

/* All pieces have come: the message joins the answer's response, unless something of it is missing.
 */
void chat_message_finish(struct chat_answer *answer);

#endif
