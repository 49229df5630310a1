#include "orchestrator/probe_answer.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "orchestrator/machine.h"

enum {
    BODY_MAX = 64 << 10,
    EVENT_MAX = 1 << 20,
    SAID_MAX = 300, /* bytes of the provider's words that are told */
};

void probe_answer_init(struct probe_answer *answer, const struct config_provider *provider,
                       const char *model)
{
    *answer = (struct probe_answer){.provider = provider, .model = model};
    sse_init(&answer->sse, EVENT_MAX);
    buf_init(&answer->body, BODY_MAX);
}

void probe_answer_release(struct probe_answer *answer)
{
    sse_release(&answer->sse);
    buf_release(&answer->body);
    free(answer->failure);
}

/* The first line of TEXT, cut, as valid UTF-8; the caller frees. */
static char *first_line(const char *text)
{
    struct buf out;
    size_t len = strcspn(text, "\r\n");
    buf_init(&out, SAID_MAX);
    str_append_utf8(&out, text, len);
    return buf_steal(&out, NULL);
}

/* What VALUE, an error in one of the shapes that providers give, says; NULL when it is none. The
 * caller frees. */
static char *error_message(const json_t *value)
{
    const json_t *error = json_object_get(value, "error");
    if (!error || json_is_null(error))
        error = json_object_get(json_object_get(value, "response"), "error");
    if (json_is_string(error))
        return first_line(json_string_value(error));
    if (json_is_object(error) && json_is_string(json_object_get(error, "message")))
        return first_line(json_string_value(json_object_get(error, "message")));
    const json_t *message = json_object_get(value, "message");
    if (!json_is_string(message))
        message = json_object_get(value, "detail");
    return json_is_string(message) ? first_line(json_string_value(message)) : NULL;
}

static int on_event(void *arg, const struct sse_event *event)
{
    struct probe_answer *answer = arg;
    json_t *data = json_loadb(event->data, event->data_len, 0, NULL);
    const char *type = json_string_value(json_object_get(data, "type"));
    bool failed = (type && (!strcmp(type, "error") || !strcmp(type, "response.failed"))) ||
                  json_is_object(json_object_get(data, "error"));
    if (failed && !answer->failure) {
        answer->failure = error_message(data);
        if (!answer->failure)
            answer->failure = str_dup("it broke off with an error");
    }
    answer->has_event = answer->has_event || (json_is_object(data) && !failed);
    json_decref(data);
    return 0;
}

void probe_answer_head(struct probe_answer *answer, const struct http_head *head)
{
    static const char stream[] = "text/event-stream";
    const char *type = http_head_get(head, "content-type");
    answer->status = head->status;
    answer->is_stream = type && !strncasecmp(type, stream, sizeof stream - 1);
}

void probe_answer_data(struct probe_answer *answer, const char *bytes, size_t len)
{
    struct err ignored;
    if (answer->status == 200 && answer->is_stream) {
        sse_feed(&answer->sse, bytes, len, on_event, answer, &ignored);
        return;
    }
    size_t room = answer->body.max - answer->body.len;
    buf_append(&answer->body, bytes, len < room ? len : room);
}

/* --- findings --- */

static __attribute__((format(printf, 4, 5))) json_t *finding(const struct probe_answer *answer,
                                                             const char *status, const char *remedy,
                                                             const char *format, ...)
{
    char *what;
    va_list args;
    va_start(args, format);
    if (vasprintf(&what, format, args) < 0)
        abort();
    va_end(args);
    AUTO_FREE char *detail =
        str_format("%s from provider '%s': %s", answer->model, answer->provider->name, what);
    free(what);
    return finding_new("provider", status, remedy, detail);
}

static char *key_remedy(const struct config_provider *provider)
{
    if (provider->env_key)
        return str_format("set the right key: codex secret set %s", provider->env_key);
    if (provider->key_file)
        return str_format("put the right key into '%s', and restart codexd", provider->key_file);
    return str_format("it wants a key: set env_key in [provider \"%s\"] and restart codexd",
                      provider->name);
}

/* What to do when the provider cannot be talked to: MESSAGE is the gateway's. */
static char *reach_remedy(const struct config_provider *provider, const char *message)
{
    if (strstr(message, "certificate") || strstr(message, "SSL") || strstr(message, "TLS"))
        return str_format(
            "see that base_url (%s) is right; its certificate has to be signed by one "
            "in /etc/ssl/certs (update-ca-certificates adds your own)",
            provider->base_url);
    return str_format(
        "see that base_url is right and answers from this machine: curl -sS %s/models",
        provider->base_url);
}

/* The code of an error of the gateway's own (docs/protocols.md); "" for the provider's. */
static const char *gateway_code(const json_t *body)
{
    static const char *const codes[] = {"provider_unreachable", "provider_timeout"};
    const char *code = json_string_value(json_object_get(json_object_get(body, "error"), "code"));
    for (size_t i = 0; code && i < sizeof codes / sizeof codes[0]; i++)
        if (!strcmp(codes[i], code))
            return codes[i];
    return "";
}

/* An answer that is not 200; SAID is what it says. */
static json_t *refusal(const struct probe_answer *answer, const char *said)
{
    AUTO_FREE char *remedy = NULL;
    switch (answer->status) {
    case 401:
        remedy = key_remedy(answer->provider);
        return finding(answer, "fail", remedy, "the key is refused (401): %s", said);
    case 403:
        return finding(answer, "fail", "use another key, or another model in [model] of codex.conf",
                       "the key may not do that (403): %s", said);
    case 404:
        remedy =
            str_format("set name in [model] to a model that it has, or base_url right: curl -sS "
                       "%s/models lists them",
                       answer->provider->base_url);
        return finding(answer, "fail", remedy, "there is no such model or address (404): %s", said);
    case 429:
        return finding(answer, "warn", "wait, or raise the limit at the provider",
                       "the limit or quota is used up (429): %s", said);
    }
    if (answer->status >= 500)
        return finding(answer, "fail", "try again in a while", "it is in trouble (%d): %s",
                       answer->status, said);
    return finding(answer, "fail",
                   "see that wire_api and base_url in [provider], and name in [model], are right",
                   "the request is refused (%d): %s", answer->status, said);
}

json_t *probe_answer_finding(const struct probe_answer *answer, int64_t duration_ms)
{
    if (answer->status == 200 && answer->failure)
        return finding(answer, "fail", "see what it says", "%s", answer->failure);
    if (answer->status == 200 && answer->has_event)
        return finding(answer, "ok", NULL, "it answers, in %lld ms", (long long)duration_ms);
    if (answer->status == 200)
        return finding(answer, "fail",
                       "see that base_url and wire_api in [provider] are right: what answers there "
                       "is something else",
                       "it answers, but not with a stream of the %s API",
                       wire_api_name(answer->provider->wire_api));
    json_t *body = json_loadb(answer->body.data, answer->body.len, 0, NULL);
    AUTO_FREE char *said = error_message(body);
    if (!said)
        said = first_line(answer->body.data);
    json_t *out;
    if (*gateway_code(body)) {
        AUTO_FREE char *remedy = reach_remedy(answer->provider, said);
        out = finding(answer, "fail", remedy, "%s", said);
    } else {
        out = refusal(answer, *said ? said : "it does not say why");
    }
    json_decref(body);
    return out;
}

json_t *probe_answer_failed(const struct probe_answer *answer, const struct err *err)
{
    return finding(answer, "fail",
                   err->code == ERR_NOT_FOUND ? "set the key" : "see the log of codexd",
                   "it could not be asked: %s", err->message);
}

json_t *probe_answer_none(const struct probe_answer *answer)
{
    return finding(answer, "ok", NULL, "recorded turns: nothing has to be asked");
}
