/*
 * Asking the model: one request at a time, tried again as retry.h says, until there is a whole
 * answer or none is to be had. Every failure that is tried again is an `error` event that says what
 * happened and when it goes on.
 */
#ifndef CODEX_AGENT_MODEL_H
#define CODEX_AGENT_MODEL_H

#include "agent/events.h"
#include "agent/provider.h"
#include "agent/retry.h"
#include "base/err.h"
#include "base/json_text.h"
#include "loop/loop.h"

struct model;

struct model_options {
    struct loop *loop;
    struct events *events;
    const struct provider *provider;
    struct request_settings settings; /* what they point at outlives the model */
    const char *base_url;
    const char *key;
    struct retry_limits limits;
    bool heard; /* the model has answered in this conversation, before this start */
};

/* NULL when the base URL is none (ERR_USAGE). */
struct model *model_new(const struct model_options *options, struct err *err);
void model_free(struct model *model);

/* Either ANSWER (its state ANSWER_WHOLE or ANSWER_CUT_SHORT; its response may be taken) or FAILURE
 * is given, valid during the call. */
typedef void model_done_fn(void *arg, struct answer *answer, const struct failure *failure);

/* Ask with this conversation, whose bytes stay until FN is called, once, from the loop. */
void model_ask(struct model *model, struct json_span conversation, model_done_fn *fn, void *arg);

/* Forget the request under way, without a call of FN. */
void model_cancel(struct model *model);

#endif
