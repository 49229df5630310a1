/* Between the files of the Chat Completions provider: its messages, its requests and its streams.
 */
#ifndef CODEX_AGENT_PROVIDERS_CHAT_H
#define CODEX_AGENT_PROVIDERS_CHAT_H

#include "agent/provider.h"

/* chat_item.c */
int chat_user_messages(struct buf *out, const struct message *messages, size_t count);
int chat_call_output(struct buf *out, const struct item *call, const char *text, size_t len,
                     const struct image *image);
int chat_output_image(struct buf *out, const struct item *call, const struct image *image);
/* JSON is a message of the assistant: the first of its items carries it. */
int chat_read_item(struct response *response, const json_t *json, struct json_span raw,
                   struct err *err);
/* CONVERSATION without what the model thought. False: OUT is full. */
bool chat_leave_out_thoughts(struct json_span conversation, struct buf *out);

/* What servers call a model's thoughts in a message or a delta. Which of them a server sends, it
 * wants back. */
enum { CHAT_THOUGHTS = 3 };
extern const char *const chat_thoughts[CHAT_THOUGHTS];

/* chat_stream.c; fed, ended and freed by body.h's functions */
struct answer *chat_answer_new(void);

#endif
