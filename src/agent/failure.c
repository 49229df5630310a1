#include "agent/failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"

enum { FAILURE_ROOM = 96 }; /* of a message, left for what retrying adds */

static const struct {
    const char *code;
    enum failure_kind kind;
} codes[] = {
    {"rate_limit_exceeded", FAILURE_RATE_LIMIT},
    {"rate_limit_error", FAILURE_RATE_LIMIT},
    {"server_is_overloaded", FAILURE_OVERLOADED},
    {"slow_down", FAILURE_OVERLOADED},
    {"engine_overloaded", FAILURE_OVERLOADED},
    {"overloaded_error", FAILURE_OVERLOADED},
    {"insufficient_system_resource", FAILURE_OVERLOADED},
    {"insufficient_quota", FAILURE_QUOTA},
    {"usage_limit_reached", FAILURE_QUOTA},
    {"usage_not_included", FAILURE_QUOTA},
    {"billing_hard_limit_reached", FAILURE_QUOTA},
    {"billing_error", FAILURE_QUOTA},
    {"invalid_api_key", FAILURE_KEY},
    {"wrong_key", FAILURE_KEY},
    {"authentication_error", FAILURE_KEY},
    {"permission_error", FAILURE_KEY},
    {"budget_exceeded", FAILURE_BUDGET},
    {"context_length_exceeded", FAILURE_CONTEXT},
    {"exceed_context_size_error", FAILURE_CONTEXT},
    {"too_large", FAILURE_CONTEXT},
    {"request_too_large", FAILURE_CONTEXT},
    {"content_filter", FAILURE_FILTERED},
    {"invalid_prompt", FAILURE_REJECTED},
    {"bio_policy", FAILURE_REJECTED},
    {"cyber_policy", FAILURE_REJECTED},
    {"data_residency_mismatch", FAILURE_REJECTED},
    {"model_not_found", FAILURE_REJECTED},
    {"not_found_error", FAILURE_REJECTED},
    {"wrong_model", FAILURE_REJECTED},
    {"replay_ended", FAILURE_REJECTED},
    {"provider_unreachable", FAILURE_UNREACHABLE},
    {"server_error", FAILURE_SERVER},
    {"api_error", FAILURE_SERVER},
    {"timeout_error", FAILURE_SERVER},
};

/* What servers that give no code write instead, in lower case. */
static const struct {
    const char *text;
    enum failure_kind kind;
} phrases[] = {
    {"context length", FAILURE_CONTEXT},
    {"context window", FAILURE_CONTEXT},
    {"context size", FAILURE_CONTEXT},
    {"context limit", FAILURE_CONTEXT},
    {"maximum model length", FAILURE_CONTEXT},
    {"prompt is too long", FAILURE_CONTEXT},
    {"exceeded your current quota", FAILURE_QUOTA},
    {"credit balance is too low", FAILURE_QUOTA},
    {"insufficient balance", FAILURE_QUOTA},
    {"specified api usage limits", FAILURE_QUOTA},
};

/* One line of valid UTF-8: line ends and other control characters become spaces. */
static void set_message(struct failure *failure, const char *text)
{
    struct buf clean;
    buf_init(&clean, sizeof failure->message - FAILURE_ROOM);
    str_append_utf8(&clean, text, strlen(text));
    for (size_t i = 0; i < clean.len; i++)
        failure->message[i] =
            (unsigned char)clean.data[i] < 0x20 || clean.data[i] == 0x7f ? ' ' : clean.data[i];
    failure->message[clean.len] = '\0';
    buf_release(&clean);
}

void failure_set(struct failure *failure, enum failure_kind kind, const char *format, ...)
{
    *failure = (struct failure){.kind = kind, .wait_ms = -1};
    char text[sizeof failure->message];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    set_message(failure, text);
}

static enum failure_kind kind_of(const char *code, const char *message, enum failure_kind otherwise)
{
    for (size_t i = 0; code && i < sizeof codes / sizeof codes[0]; i++)
        if (!strcmp(code, codes[i].code))
            return codes[i].kind;
    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++)
        if (strcasestr(message, phrases[i].text))
            return phrases[i].kind;
    return otherwise;
}

/* A duration as Go and OpenAI write it: "1h2m3.5s", "20 seconds", "350ms". */
static int64_t read_duration(const char *p)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ms", 1},  {"millisecond", 1}, {"s", 1e3},
                 {"m", 6e4}, {"h", 3.6e6},       {"d", 8.64e7}};
    double total = 0;
    bool any = false;
    for (;;) {
        char *end;
        if (*p < '0' || *p > '9')
            break;
        double n = strtod(p, &end);
        while (*end == ' ')
            end++;
        double ms = 0;
        for (size_t i = 0; i < sizeof units / sizeof units[0] && !ms; i++)
            if (!strncasecmp(end, units[i].unit, strlen(units[i].unit)))
                ms = units[i].ms;
        if (!ms)
            break;
        total += n * ms;
        any = true;
        while ((*end >= 'a' && *end <= 'z') || (*end >= 'A' && *end <= 'Z'))
            end++;
        p = end;
    }
    return any && total <= 1e12 ? (int64_t)total : -1;
}

int64_t failure_wait_in_text(const char *message)
{
    static const char *const leads[] = {"try again in ", "retry after ", "retry in "};
    for (size_t i = 0; i < sizeof leads / sizeof leads[0]; i++) {
        const char *at = strcasestr(message, leads[i]);
        if (at)
            return read_duration(at + strlen(leads[i]));
    }
    return -1;
}

/* Seconds, or an HTTP date (RFC 9110, section 10.2.3). */
static int64_t read_retry_after(const char *value)
{
    int64_t seconds;
    if (str_parse_int(value, 0, INT32_MAX, &seconds) == 0)
        return seconds * 1000;
    struct tm tm = {0};
    const char *end = strptime(value, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    if (!end || *end)
        return -1;
    int64_t wait_ms = (int64_t)timegm(&tm) * 1000 - clock_real_ms();
    return wait_ms > 0 ? wait_ms : 0;
}

int64_t failure_wait_in_head(const struct http_head *head)
{
    int64_t ms;
    const char *value = http_head_get(head, "retry-after-ms");
    if (value && str_parse_int(value, 0, INT32_MAX, &ms) == 0)
        return ms;
    value = http_head_get(head, "Retry-After");
    return value ? read_retry_after(value) : -1;
}

static enum failure_kind kind_of_status(int status)
{
    switch (status) {
    case 402:
        return FAILURE_QUOTA;
    case 401:
    case 403:
        return FAILURE_KEY;
    case 408:
    case 409:
    case 425:
        return FAILURE_SERVER;
    case 413:
        return FAILURE_CONTEXT;
    case 429:
        return FAILURE_RATE_LIMIT;
    case 503:
    case 529:
        return FAILURE_OVERLOADED;
    }
    return status >= 500 ? FAILURE_SERVER : FAILURE_REJECTED;
}

/* A general type that decides nothing which a status or code does not say better. */
static bool is_general(const char *type)
{
    return !strcmp(type, "server_error") || !strcmp(type, "error");
}

void failure_from_error(struct failure *failure, const json_t *error)
{
    const char *code = json_string_value(json_object_get(error, "code"));
    const char *type = json_string_value(json_object_get(error, "type"));
    const char *message = json_string_value(json_object_get(error, "message"));
    if (!message)
        message = json_is_string(error) ? json_string_value(error) : "";
    if (type && is_general(type))
        type = NULL;
    /* Some put a status there. */
    json_int_t status = json_integer_value(json_object_get(error, "code"));
    enum failure_kind kind = status >= 400 && status < 600 ? kind_of_status((int)status)
                             : type && !strcmp(type, "invalid_request_error") ? FAILURE_REJECTED
                                                                              : FAILURE_SERVER;
    if (type)
        kind = kind_of(type, message, kind);
    const char *word = code ? code : type ? type : "an error";
    failure_set(failure, kind_of(code, message, kind), "the model server reports %s%s%s", word,
                *message ? ": " : "", message);
    failure->wait_ms = failure_wait_in_text(message);
}

/* The first of the mistakes that FastAPI lists, {"detail":[{"loc":["body","x"],"msg"}]}, also within
 * `message` (Mistral). */
static const json_t *first_detail(const json_t *root)
{
    const json_t *detail = json_object_get(root, "detail");
    if (!detail)
        detail = json_object_get(json_object_get(root, "message"), "detail");
    return json_array_get(detail, 0);
}

/* The text in an error body, wherever servers put it: {"error":{"message"}}, {"error"},
 * {"message"}, {"detail"}, or the above. NULL when there is none. */
static const char *text_in(const json_t *root)
{
    const json_t *error = json_object_get(root, "error");
    const json_t *const places[] = {
        json_object_get(error, "message"), error, json_object_get(root, "message"),
        json_object_get(root, "detail"), json_object_get(first_detail(root), "msg")};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (json_is_string(places[i]))
            return json_string_value(places[i]);
    return NULL;
}

/* The member of the request that is complained about: a path with dots, or "". */
static void set_param(struct failure *failure, const json_t *error, const json_t *root)
{
    const char *param = json_string_value(json_object_get(error, "param"));
    const json_t *location = json_object_get(first_detail(root), "loc");
    snprintf(failure->param, sizeof failure->param, "%s", param ? param : "");
    for (size_t i = 1; !param && i < json_array_size(location); i++) {
        const char *step = json_string_value(json_array_get(location, i));
        size_t len = strlen(failure->param);
        if (step) /* no place in a list */
            snprintf(failure->param + len, sizeof failure->param - len, "%s%s", len ? "." : "",
                     step);
    }
}

/* The first line of a body that is plain text; "" for HTML and broken JSON. */
static char *first_line(const char *body, size_t len)
{
    size_t start = 0, end;
    while (start < len && memchr(" \t\r\n", body[start], 4))
        start++;
    for (end = start; end < len && body[end] != '\n' && body[end] != '\r';)
        end++;
    bool is_text = start < len && !memchr("<{[", body[start], 3);
    return str_format("%.*s", is_text ? (int)(end - start) : 0, body + start);
}

void failure_from_http(struct failure *failure, int status, int64_t wait_ms, const char *body,
                       size_t len)
{
    json_t *parsed = json_loadb(body, len, 0, NULL);
    /* Google gives a list of one. */
    const json_t *root = json_is_array(parsed) ? json_array_get(parsed, 0) : parsed;
    const json_t *error = json_object_get(root, "error");
    if (!json_is_object(error))
        error = root;
    const char *code = json_string_value(json_object_get(error, "code"));
    const char *type = json_string_value(json_object_get(error, "type"));
    AUTO_FREE char *line = first_line(body, len);
    const char *message = text_in(root);
    if (!message)
        message = line;

    /* Some servers have the code in `type`. */
    enum failure_kind kind = kind_of_status(status);
    if (type && !is_general(type))
        kind = kind_of(type, message, kind);
    failure_set(failure, kind_of(code, message, kind), "the model server answers %d%s%s%s%s",
                status, code ? " " : "", code ? code : "", *message ? ": " : "", message);
    failure->wait_ms = wait_ms >= 0 ? wait_ms : failure_wait_in_text(message);
    set_param(failure, error, root);
    snprintf(failure->code, sizeof failure->code, "%s", code ? code : "");
    json_decref(parsed);
}
