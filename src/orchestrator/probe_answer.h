/* What a provider's answer to a probe means, and what to do about it. */
#ifndef CODEX_ORCHESTRATOR_PROBE_ANSWER_H
#define CODEX_ORCHESTRATOR_PROBE_ANSWER_H

#include <jansson.h>

#include "base/buf.h"
#include "config/config.h"
#include "http/message.h"
#include "http/sse.h"

struct probe_answer {
    const struct config_provider *provider; /* stays the caller's, as the model */
    const char *model;
    int status; /* of HTTP; 0: no head came */
    bool is_stream;
    struct sse sse;
    struct buf body; /* of what is no stream: its beginning */
    bool has_event;  /* one that is no error */
    char *failure;   /* what an event of the stream said */
};

void probe_answer_init(struct probe_answer *answer, const struct config_provider *provider,
                       const char *model);
void probe_answer_release(struct probe_answer *answer);

/* As it comes in. */
void probe_answer_head(struct probe_answer *answer, const struct http_head *head);
void probe_answer_data(struct probe_answer *answer, const char *bytes, size_t len);

/* The finding, which the caller owns: the answer is whole and took DURATION_MS; there is none, for
 * the reason ERR; nothing has to be asked. */
json_t *probe_answer_finding(const struct probe_answer *answer, int64_t duration_ms);
json_t *probe_answer_failed(const struct probe_answer *answer, const struct err *err);
json_t *probe_answer_none(const struct probe_answer *answer);

#endif
