#include "gateway/api_error.h"

#include "base/json_text.h"

static const struct {
    int status;
    const char *code, *type;
} errors[API_ERROR_COUNT] = {
    [API_BAD_REQUEST] = {400, "bad_request", "invalid_request_error"},
    [API_WRONG_KEY] = {401, "wrong_key", "authentication_error"},
    [API_WRONG_MODEL] = {403, "wrong_model", "permission_error"},
    [API_NOT_FOUND] = {404, "not_found", "invalid_request_error"},
    [API_TOO_LARGE] = {413, "too_large", "invalid_request_error"},
    [API_TOO_MANY] = {503, "too_many_requests", "server_error"},
    [API_BUDGET_EXCEEDED] = {403, "budget_exceeded", "permission_error"},
    [API_PROVIDER_UNREACHABLE] = {502, "provider_unreachable", "server_error"},
    [API_PROVIDER_TIMEOUT] = {504, "provider_timeout", "server_error"},
    [API_REPLAY_ENDED] = {400, "replay_ended", "invalid_request_error"},
    [API_BAD_REPLAY] = {400, "bad_replay", "invalid_request_error"},
};

int api_error_status(enum api_error error)
{
    return errors[error].status;
}

void api_error_body(enum api_error error, const char *message, struct buf *out)
{
    buf_append_str(out, "{\"type\":\"error\",\"error\":{\"message\":");
    json_text_cstring(out, message);
    buf_appendf(out, ",\"type\":\"%s\",\"param\":null,\"code\":\"%s\"}}", errors[error].type,
                errors[error].code);
}
