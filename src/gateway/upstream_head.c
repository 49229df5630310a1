#include "gateway/upstream_head.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/str.h"

/* Everything else stays here: cookies, the connection's own headers, and what nobody asked for. */
static const char *const passed[] = {
    "content-type",  "retry-after",  "retry-after-ms",        "x-should-retry",
    "x-request-id",  "openai-model", "openai-version",        "openai-processing-ms",
    "x-ratelimit-*", "request-id",   "anthropic-ratelimit-*",
};

static bool is_passed(const char *name)
{
    for (size_t i = 0; i < sizeof passed / sizeof passed[0]; i++) {
        size_t len = strlen(passed[i]);
        if (passed[i][len - 1] == '*' ? !strncasecmp(name, passed[i], len - 1)
                                      : !strcasecmp(name, passed[i]))
            return true;
    }
    return false;
}

static bool is_clean(const char *s)
{
    for (; *s; s++)
        if (((unsigned char)*s < 0x20 && *s != '\t') || *s == 0x7f)
            return false;
    return true;
}

void upstream_head_init(struct upstream_head *head)
{
    *head = (struct upstream_head){0};
}

void upstream_head_release(struct upstream_head *head)
{
    for (size_t i = 0; i < head->headers_count; i++)
        free(head->owned[i]);
    head->headers_count = 0;
}

/* "HTTP/1.1 200 OK" */
static int take_status(struct upstream_head *head, const char *line, struct err *err)
{
    const char *space = strchr(line, ' ');
    char digits[4] = "";
    int64_t status;
    if (space)
        strncat(digits, space + 1, 3);
    if (!str_starts_with(line, "HTTP/1.") || str_parse_int(digits, 100, 599, &status) < 0)
        return err_set(err, ERR_PROTOCOL, "an answer with an impossible status");
    upstream_head_release(head);
    head->status = (int)status;
    return 0;
}

static int take_header(struct upstream_head *head, char *line, struct err *err)
{
    char *colon = strchr(line, ':');
    if (!colon)
        return 0;
    *colon = '\0';
    char *value = colon + 1 + strspn(colon + 1, " \t");
    size_t len = strlen(value);
    while (len && strchr(" \t", value[len - 1]))
        value[--len] = '\0';
    /* None was asked for, and an answer that cannot be read cannot be metered. */
    if ((!strcasecmp(line, "content-encoding") && strcasecmp(value, "identity")) ||
        (!strcasecmp(line, "transfer-encoding") && strcasecmp(value, "chunked")))
        return err_set(err, ERR_PROTOCOL, "an answer in the encoding '%.40s'", value);
    if (!is_passed(line) || !is_clean(line) || !is_clean(value) || len > UPSTREAM_VALUE_MAX ||
        head->headers_count == UPSTREAM_HEADERS_MAX)
        return 0;
    size_t name_len = strlen(line);
    char *owned = malloc(name_len + len + 2);
    if (!owned)
        abort();
    memcpy(owned, line, name_len + 1);
    memcpy(owned + name_len + 1, value, len + 1);
    head->owned[head->headers_count] = owned;
    head->headers[head->headers_count++] = (struct http_header){owned, owned + name_len + 1};
    return 0;
}

int upstream_head_line(struct upstream_head *head, const char *line, size_t len, struct err *err)
{
    if (head->whole)
        return 1;
    head->seen_bytes += len;
    if (head->seen_bytes > UPSTREAM_HEAD_MAX)
        return err_set(err, ERR_PROTOCOL, "an answer with a head of more than %d bytes",
                       UPSTREAM_HEAD_MAX);
    while (len && (line[len - 1] == '\r' || line[len - 1] == '\n'))
        len--;
    if (len == 0) {
        head->whole = head->status >= 200;
        return head->whole;
    }
    if (memchr(line, '\0', len))
        return err_set(err, ERR_PROTOCOL, "an answer with a NUL in its head");
    AUTO_FREE char *text = str_format("%.*s", (int)len, line);
    return str_starts_with(text, "HTTP/") ? take_status(head, text, err)
                                          : take_header(head, text, err);
}
