#include "cli/api.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/fields.h"
#include "cli/text.h"
#include "task/id.h"

int api_init(struct api *api, const char *socket, struct err *err)
{
    *api = (struct api){0};
    int status = http_peer_unix(&api->peer, socket, err);
    if (status < 0)
        return status;
    api->loop = loop_new(err);
    if (!api->loop)
        return err->code;
    api->socket = str_dup(socket);
    return 0;
}

void api_release(struct api *api)
{
    loop_free(api->loop);
    free(api->socket);
    *api = (struct api){0};
}

/* What the codes of docs/api.md are here. */
static const struct {
    const char *name;
    int code;
} problems[] = {
    {"bad_request", ERR_USAGE}, {"not_found", ERR_NOT_FOUND}, {"forbidden", ERR_REFUSED},
    {"refused", ERR_REFUSED},   {"key_missing", ERR_REFUSED}, {"no_sandbox", ERR_SANDBOX},
    {"disk_full", ERR_REFUSED}, {"internal", ERR_REFUSED},
};

/* The person's shell may have the key that codexd lacks; it is never sent. */
static void add_key_hint(const char *variable, struct err *err)
{
    const char *value = variable ? getenv(variable) : NULL;
    if (!value || !*value)
        return;
    AUTO_FREE char *before = str_dup(err->message);
    err_set(err, err->code,
            "%s (your shell has %s, codexd has not: restart codexd with it, or put the key into a "
            "file that key_file names)",
            before, variable);
}

int api_problem(int http_status, const char *body, size_t len, struct err *err)
{
    json_t *problem = json_loadb(body, len, JSON_ALLOW_NUL, NULL);
    const char *name = field_text_or(problem, "code", "");
    const char *detail = field_text(problem, "detail");
    int code = http_status >= 500 ? ERR_REFUSED : http_status == 404 ? ERR_NOT_FOUND : ERR_REFUSED;
    for (size_t i = 0; i < sizeof problems / sizeof problems[0]; i++)
        if (!strcmp(problems[i].name, name))
            code = problems[i].code;
    AUTO_BUF struct buf line;
    buf_init(&line, sizeof err->message * 4);
    if (detail) {
        AUTO_FREE char *clean = text_clean(detail);
        text_append_cut(&line, clean, sizeof err->message - 1);
    } else {
        buf_appendf(&line, "codexd answered %d", http_status);
    }
    err_set(err, code, "%s", line.data);
    if (!strcmp(name, "key_missing"))
        add_key_hint(field_text(problem, "env_key"), err);
    json_decref(problem);
    return code;
}

int api_unreachable(const char *socket, int status, struct err *err)
{
    AUTO_FREE char *why = str_dup(err->message);
    switch (status) {
    case -ENOENT:
    case -ECONNREFUSED:
        return err_set(err, ERR_NO_SERVER,
                       "no codexd answers at '%s': start one as root with 'codexd --config FILE' "
                       "('codex task' starts a private one)",
                       socket);
    case -EACCES:
        return err_set(err, ERR_REFUSED,
                       "you may not use the codexd at '%s': ask to be put into its group ('usermod "
                       "-aG codex NAME'), and log in again",
                       socket);
    default:
        return err_set(err, ERR_NO_SERVER, "codexd at '%s': %s", socket, why);
    }
}

struct exchange {
    int http_status, status;
    bool ended, too_large;
    struct buf *out;
    struct err *err;
};

static void on_head(void *arg, const struct http_head *head)
{
    struct exchange *exchange = arg;
    exchange->http_status = head->status;
}

static void on_data(void *arg, const char *bytes, size_t len)
{
    struct exchange *exchange = arg;
    if (buf_append(exchange->out, bytes, len) < 0)
        exchange->too_large = true;
}

static void on_end(void *arg, int status, const struct err *err)
{
    struct exchange *exchange = arg;
    exchange->status = status;
    exchange->ended = true;
    if (status < 0)
        *exchange->err = *err;
}

int api_call(struct api *api, const char *method, const char *target, const json_t *body,
             struct buf *out, struct err *err)
{
    static const struct http_header headers[] = {
        {"Accept", "*/*"},
        {"Content-Type", "application/json"},
    };
    static const struct http_call_handlers handlers = {on_head, on_data, on_end};
    AUTO_FREE char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct iovec piece = {.iov_base = text, .iov_len = text ? strlen(text) : 0};
    const struct http_request request = {
        .method = method,
        .target = target,
        .headers = headers,
        .headers_count = text ? 2 : 1,
        .body = &piece,
        .body_count = text ? 1 : 0,
        .first_byte_timeout_ms = API_TIMEOUT_MS,
        .idle_timeout_ms = API_TIMEOUT_MS,
    };
    struct exchange exchange = {.out = out, .err = err};
    struct http_call *call = http_call_start(api->loop, &api->peer, &request, &handlers, &exchange);
    while (!exchange.ended) {
        int status = loop_run_once(api->loop, -1, err);
        if (status < 0) {
            http_call_cancel(call);
            return status;
        }
    }
    if (exchange.status < 0)
        return api_unreachable(api->socket, exchange.status, err);
    if (exchange.too_large)
        return err_set(err, ERR_LIMIT, "the answer of codexd is larger than %zu bytes", out->max);
    if (exchange.http_status / 100 != 2)
        return api_problem(exchange.http_status, out->data, out->len, err);
    return 0;
}

int api_json(struct api *api, const char *method, const char *target, const json_t *body,
             json_t **out, struct err *err)
{
    AUTO_BUF struct buf answer;
    buf_init(&answer, API_ANSWER_MAX);
    int status = api_call(api, method, target, body, &answer, err);
    if (status < 0)
        return status;
    json_error_t error;
    *out = json_loadb(answer.data, answer.len, JSON_ALLOW_NUL, &error);
    if (!*out)
        return err_set(err, ERR_NO_SERVER, "what answers at '%s' is no codexd: %s", api->socket,
                       error.text);
    return 0;
}

int api_check_id(const char *id, struct err *err)
{
    if (task_id_valid(id))
        return 0;
    return err_set(err, ERR_NOT_FOUND,
                   "no task '%.64s': ids are like task-abc123, 'codex list' shows them", id);
}

char *api_task_target(const char *id, const char *rest)
{
    return str_format("/v1/tasks/%s%s", id, rest);
}

int api_task(struct api *api, const char *id, json_t **task, struct err *err)
{
    AUTO_FREE char *target = api_task_target(id, "");
    return api_json(api, "GET", target, NULL, task, err);
}
