#include "gateway/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gateway/call.h"

struct model {
    struct http_server *server;
    struct provider provider;
    struct call_context calls;
};

/* Takes the same time wherever the two differ, so that a key cannot be found byte by byte. */
static bool same_secret(const char *a, const char *b)
{
    size_t len = strlen(a);
    if (len != strlen(b))
        return false;
    unsigned char difference = 0;
    for (size_t i = 0; i < len; i++)
        difference |= (unsigned char)(a[i] ^ b[i]);
    return !difference;
}

/* The request's key is this run's: as a bearer's token, or in the wire's own way. */
static bool has_key(const struct http_head *head, const struct wire *wire, const char *key)
{
    static const char scheme[] = "Bearer ";
    const char *value = NULL;
    for (size_t i = 0; i < head->headers_count; i++) {
        const struct http_header *header = &head->headers[i];
        bool is_bearer = !strcasecmp(header->name, "authorization");
        if (!is_bearer && strcasecmp(header->name, wire->key_header))
            continue;
        if (value) /* two of them: which one counts? */
            return false;
        if (is_bearer && strncasecmp(header->value, scheme, sizeof scheme - 1))
            return false;
        value = header->value + (is_bearer ? sizeof scheme - 1 : 0);
    }
    return value && same_secret(value, key);
}

/* "/v1/responses" */
static bool is_path_of(const struct wire *wire, const char *target)
{
    static const char root[] = "/v1";
    return !strncmp(target, root, sizeof root - 1) && !strcmp(target + sizeof root - 1, wire->path);
}

static void open_call(struct model *model, struct http_exchange *exchange,
                      const struct http_head *head)
{
    enum budget_answer answer = budget_ask(model->calls.budget);
    if (answer == BUDGET_NO)
        call_refuse(exchange, API_BUDGET_EXCEEDED, 0, "the token budget of this task is used up");
    else if (answer == BUDGET_LATER)
        call_refuse(exchange, API_TOO_MANY, 0,
                    "what is left of the token budget is held by requests under way");
    else if (model->calls.open >= MODEL_CALLS_MAX)
        call_refuse(exchange, API_TOO_MANY, 0, "too many requests at once");
    else
        call_open(&model->calls, exchange, head);
}

static void on_request(void *arg, struct http_exchange *exchange, const struct http_head *head)
{
    struct model *model = arg;
    const struct wire *wire = model->calls.config->wire;
    const char *coding = http_head_get(head, "content-encoding");
    char where[64];
    snprintf(where, sizeof where, "only /v1%s is here", wire->path);
    if (!has_key(head, wire, model->calls.config->sandbox_key))
        call_refuse(exchange, API_WRONG_KEY, 0, "the key is not the one of this run");
    else if (!is_path_of(wire, head->target))
        call_refuse(exchange, API_NOT_FOUND, 0, where);
    else if (strcmp(head->method, "POST"))
        call_refuse(exchange, API_BAD_REQUEST, 405, "only POST is possible here");
    else if (coding && strcasecmp(coding, "identity"))
        call_refuse(exchange, API_BAD_REQUEST, 415,
                    "the body must come without a content encoding");
    else
        open_call(model, exchange, head);
}

static void on_refused(void *arg, struct http_exchange *exchange, int status, const struct err *err)
{
    call_refuse(exchange, status == 413 ? API_TOO_LARGE : API_BAD_REQUEST, status, err->message);
}

struct model *model_new(struct loop *loop, const struct gateway_config *config,
                        struct budget *budget, const struct provider *provider,
                        void (*trouble)(void *arg, const char *message), void *arg)
{
    static const struct http_server_limits limits = {
        .connections = MODEL_CONNECTIONS_MAX,
        .body_bytes = MODEL_BODY_MAX,
        .head_timeout_ms = MODEL_HEAD_TIMEOUT_MS,
        .body_timeout_ms = MODEL_BODY_TIMEOUT_MS,
        .write_timeout_ms = MODEL_WRITE_TIMEOUT_MS,
        .linger_timeout_ms = MODEL_LINGER_TIMEOUT_MS,
    };
    static const struct http_server_handlers handlers = {on_request, on_refused, call_on_body,
                                                         call_on_writable, call_on_gone};
    struct model *model = calloc(1, sizeof *model);
    if (!model)
        abort();
    model->provider = *provider;
    model->calls = (struct call_context){.loop = loop,
                                         .config = config,
                                         .budget = budget,
                                         .body_max = MODEL_BODY_MAX,
                                         .provider = &model->provider,
                                         .trouble = trouble,
                                         .arg = arg};
    model->server = http_server_new(loop, &limits, &handlers, model);
    return model;
}

void model_free(struct model *model)
{
    if (!model)
        return;
    http_server_free(model->server);
    model->provider.free(model->provider.state);
    free(model);
}

int model_listen(struct model *model, int fd, struct err *err)
{
    return http_server_listen(model->server, fd, err);
}
