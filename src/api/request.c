#include "api/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/str.h"

static const char *title_of(unsigned status)
{
    switch (status) {
    case MHD_HTTP_BAD_REQUEST:
        return "Bad Request";
    case MHD_HTTP_FORBIDDEN:
        return "Forbidden";
    case MHD_HTTP_NOT_FOUND:
        return "Not Found";
    case MHD_HTTP_METHOD_NOT_ALLOWED:
        return "Method Not Allowed";
    case MHD_HTTP_CONFLICT:
        return "Conflict";
    case MHD_HTTP_CONTENT_TOO_LARGE:
        return "Payload Too Large";
    case MHD_HTTP_UNSUPPORTED_MEDIA_TYPE:
        return "Unsupported Media Type";
    case MHD_HTTP_BAD_GATEWAY:
        return "Bad Gateway";
    case MHD_HTTP_SERVICE_UNAVAILABLE:
        return "Service Unavailable";
    case MHD_HTTP_INSUFFICIENT_STORAGE:
        return "Insufficient Storage";
    default:
        return "Internal Server Error";
    }
}

void answer_response(struct request *request, unsigned status, struct MHD_Response *response)
{
    if (!response || request->response)
        abort(); /* out of memory, or answered twice */
    request->response = response;
    request->status = status;
    if (!request->suspended)
        return;
    request->suspended = false;
    struct request **at = &request->api->suspended;
    while (*at != request)
        at = &(*at)->next;
    *at = request->next;
    request->waits_for = NULL;
    loop_remove(request->watch);
    request->watch = NULL;
    MHD_resume_connection(request->connection);
    api_wake(request->api);
}

void answer(struct request *request, unsigned status, const char *type, struct buf *bytes)
{
    size_t len;
    char *data = buf_steal(bytes, &len);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(len, data, MHD_RESPMEM_MUST_FREE);
    if (!response)
        abort();
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    answer_response(request, status, response);
}

static void answer_problem_with(struct request *request, unsigned status, const char *code,
                                const char *detail, const char *env_key)
{
    AUTO_BUF struct buf out;
    buf_init(&out, 65536);
    buf_appendf(&out, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"detail\":",
                title_of(status), status);
    json_text_cstring(&out, detail);
    buf_appendf(&out, ",\"code\":\"%s\"", code);
    if (!strcmp(code, "key_missing")) {
        buf_append_str(&out, ",\"env_key\":");
        json_text_cstring(&out, env_key);
    }
    buf_append_char(&out, '}');
    answer(request, status, "application/problem+json", &out);
}

void answer_problem(struct request *request, unsigned status, const char *code, const char *detail)
{
    answer_problem_with(request, status, code, detail, NULL);
}

void answer_error(struct request *request, const struct err *err)
{
    static const struct {
        int error;
        unsigned status;
        const char *code;
    } kinds[] = {
        {ERR_USAGE, MHD_HTTP_BAD_REQUEST, "bad_request"},
        {ERR_NOT_FOUND, MHD_HTTP_NOT_FOUND, "not_found"},
        {-EACCES, MHD_HTTP_FORBIDDEN, "forbidden"},
        {ERR_REFUSED, MHD_HTTP_CONFLICT, "refused"},
        {ERR_KEY_MISSING, MHD_HTTP_CONFLICT, "key_missing"},
        {-EHOSTUNREACH, MHD_HTTP_BAD_GATEWAY, "unreachable"},
        {ERR_SANDBOX, MHD_HTTP_SERVICE_UNAVAILABLE, "no_sandbox"},
        {-ENOSPC, MHD_HTTP_INSUFFICIENT_STORAGE, "disk_full"},
        {-EDQUOT, MHD_HTTP_INSUFFICIENT_STORAGE, "disk_full"},
    };
    const struct config *config = request->api->options.config;
    const struct config_provider *provider = config_provider_find(config, config->provider);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].error == err->code) {
            answer_problem_with(request, kinds[i].status, kinds[i].code, err->message,
                                provider ? provider->env_key : NULL);
            return;
        }
    log_error(request->task_id[0] ? request->task_id : "-", "%s %s: %s", request->route->method,
              request->route->path, err->message);
    answer_problem(request, MHD_HTTP_INTERNAL_SERVER_ERROR, "internal", err->message);
}

bool request_task(struct request *request, struct task *out)
{
    struct err err = {0};
    if (store_task_get(request->api->options.store, request->task_id, out, &err) < 0) {
        answer_error(request, &err);
        return false;
    }
    if (request->uid == 0 || request->uid == out->uid)
        return true;
    err_set(&err, -EACCES, "%s is another user's task", out->id);
    task_release(out);
    answer_error(request, &err);
    return false;
}

void answer_task(struct request *request, unsigned status, const struct task *task)
{
    AUTO_BUF struct buf out;
    buf_init(&out, ANSWER_MAX);
    if (task_to_json(task, &out) < 0)
        abort(); /* every text of a task is bounded far below that */
    answer(request, status, "application/json", &out);
}

const char *request_query(struct request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *request_header(struct request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

bool request_number(struct request *request, const char *name, int64_t min, int64_t max,
                    int64_t fallback, int64_t *out)
{
    const char *value = request_query(request, name);
    *out = fallback;
    if (!value || str_parse_int(value, min, max, out) == 0)
        return true;
    AUTO_FREE char *detail =
        str_format("'%s' is not a number from %lld to %lld", name, (long long)min, (long long)max);
    answer_problem(request, MHD_HTTP_BAD_REQUEST, "bad_request", detail);
    return false;
}
