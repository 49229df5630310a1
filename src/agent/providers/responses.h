/* Between the files of the Responses provider: its items, its requests and its streams. */
#ifndef CODEX_AGENT_PROVIDERS_RESPONSES_H
#define CODEX_AGENT_PROVIDERS_RESPONSES_H

#include "agent/provider.h"

/* responses_item.c */
int responses_user_messages(struct buf *out, const struct message *messages, size_t count);
int responses_call_output(struct buf *out, const struct item *call, const char *text, size_t len,
                          const struct image *image);
int responses_read_item(struct response *response, const json_t *json, struct json_span raw,
                        struct err *err);

/* responses_stream.c; fed, ended and freed by body.h's functions */
struct answer *responses_answer_new(void);

#endif
