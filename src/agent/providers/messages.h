/* Between the files of the Messages provider: its blocks, its requests and its streams. */
#ifndef CODEX_AGENT_PROVIDERS_MESSAGES_H
#define CODEX_AGENT_PROVIDERS_MESSAGES_H

#include "agent/provider.h"

/* messages_item.c */
int messages_user_messages(struct buf *out, const struct message *messages, size_t count);
int messages_call_output(struct buf *out, const struct item *call, const char *text, size_t len,
                         const struct image *image);
/* JSON is a content block. One of white space alone is left out: it would be refused. */
int messages_read_item(struct response *response, const json_t *json, struct json_span raw,
                       struct err *err);

/* messages_stream.c; fed, ended and freed by body.h's functions */
struct answer *messages_answer_new(void);

#endif
