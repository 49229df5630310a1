/* Between the files of the Responses provider: its items, its requests and its streams. */
#ifndef CODEX_AGENT_PROVIDERS_RESPONSES_H
#define CODEX_AGENT_PROVIDERS_RESPONSES_H

#include "agent/provider.h"

/* responses_item.c */
int responses_user_message(struct buf *out, const char *text, size_t len);
int responses_call_output(struct buf *out, const struct item *call, const char *text, size_t len);
int responses_read_item(struct item *item, const json_t *json, struct json_span raw,
                        struct err *err);

/* responses_stream.c */
struct answer *responses_answer_new(void);
void responses_answer_feed(struct answer *answer, const char *bytes, size_t len);
void responses_answer_end(struct answer *answer);
void responses_answer_free(struct answer *answer);

#endif
