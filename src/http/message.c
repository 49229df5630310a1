#include "http/message.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

static int malformed(struct err *err, const char *what)
{
    return err_set(err, ERR_PROTOCOL, "malformed HTTP: %s", what);
}

/* RFC 9110 section 5.6.2. */
static bool is_token_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if (!is_token_char((unsigned char)*s))
            return false;
    return true;
}

/* Length of the head up to and with its empty line; 0 when that has not come. */
static size_t head_length(const char *bytes, size_t len)
{
    const char *end = memmem(bytes, len, "\r\n\r\n", 4);
    return end ? (size_t)(end - bytes) + 4 : 0;
}

/* No control characters but the line ends: no NUL, no bare CR or LF, no DEL. */
static bool is_clean(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '\r' && i + 1 < len && bytes[i + 1] == '\n') {
            i++;
            continue;
        }
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static int parse_version(const char *s)
{
    if (!strcmp(s, "HTTP/1.1"))
        return 1;
    return strcmp(s, "HTTP/1.0") ? -1 : 0;
}

static int parse_request_line(struct http_head *head, char *line, struct err *err)
{
    char *target = strchr(line, ' ');
    char *version = target ? strchr(target + 1, ' ') : NULL;
    if (!version)
        return malformed(err, "request line");
    *target++ = '\0';
    *version++ = '\0';
    head->method = line;
    head->target = target;
    head->minor_version = parse_version(version);
    if (!is_token(line) || !*target || strpbrk(target, " \t") || head->minor_version < 0)
        return malformed(err, "request line");
    return 0;
}

static int parse_status_line(struct http_head *head, char *line, struct err *err)
{
    char *status = strchr(line, ' ');
    if (!status)
        return malformed(err, "status line");
    *status++ = '\0';
    char *reason = strchr(status, ' ');
    if (reason)
        *reason++ = '\0';
    head->reason = reason ? reason : "";
    int64_t code;
    head->minor_version = parse_version(line);
    if (head->minor_version < 0 || strlen(status) != 3 ||
        str_parse_int(status, 100, 599, &code) < 0)
        return malformed(err, "status line");
    head->status = (int)code;
    return 0;
}

static int parse_header(struct http_head *head, char *line, struct err *err)
{
    if (head->headers_count == HTTP_HEADERS_MAX)
        return malformed(err, "too many headers");
    char *colon = strchr(line, ':');
    if (!colon)
        return malformed(err, "header without a colon");
    *colon = '\0';
    if (!is_token(line))
        return malformed(err, "header name");
    char *value = colon + 1 + strspn(colon + 1, " \t");
    size_t len = strlen(value);
    while (len && strchr(" \t", value[len - 1]))
        value[--len] = '\0';
    head->headers[head->headers_count++] = (struct http_header){line, value};
    return 0;
}

static int parse_lines(struct http_head *head, enum http_kind kind, struct err *err)
{
    bool first = true;
    for (char *line = head->bytes, *end; (end = strstr(line, "\r\n")) && end != line;
         line = end + 2) {
        *end = '\0';
        int status = !first                 ? parse_header(head, line, err)
                     : kind == HTTP_REQUEST ? parse_request_line(head, line, err)
                                            : parse_status_line(head, line, err);
        if (status < 0)
            return status;
        first = false;
    }
    return first ? malformed(err, "empty head") : 0;
}

int http_head_parse(struct http_head *head, enum http_kind kind, const char *bytes, size_t len,
                    struct err *err)
{
    *head = (struct http_head){0};
    size_t head_len = head_length(bytes, len < HTTP_HEAD_MAX ? len : HTTP_HEAD_MAX);
    if (!head_len)
        return len < HTTP_HEAD_MAX ? 0 : malformed(err, "head too large");
    if (!is_clean(bytes, head_len))
        return malformed(err, "control character in the head");
    head->bytes = malloc(head_len + 1);
    if (!head->bytes)
        abort();
    memcpy(head->bytes, bytes, head_len);
    head->bytes[head_len] = '\0';
    int status = parse_lines(head, kind, err);
    if (status < 0) {
        http_head_release(head);
        return status;
    }
    return (int)head_len;
}

void http_head_release(struct http_head *head)
{
    free(head->bytes);
    *head = (struct http_head){0};
}

const char *http_head_get(const struct http_head *head, const char *name)
{
    for (size_t i = 0; i < head->headers_count; i++)
        if (!strcasecmp(head->headers[i].name, name))
            return head->headers[i].value;
    return NULL;
}

static size_t count_headers(const struct http_head *head, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < head->headers_count; i++)
        count += !strcasecmp(head->headers[i].name, name);
    return count;
}

int http_body_init(struct http_body *body, enum http_kind kind, const struct http_head *head,
                   struct err *err)
{
    *body = (struct http_body){.framing = HTTP_BODY_NONE, .done = true};
    const char *length = http_head_get(head, "content-length");
    const char *encoding = http_head_get(head, "transfer-encoding");
    if (count_headers(head, "content-length") > 1 || count_headers(head, "transfer-encoding") > 1 ||
        (length && encoding))
        return malformed(err, "more than one body length");
    if (kind == HTTP_RESPONSE && (head->status < 200 || head->status == 204 || head->status == 304))
        return 0;
    if (encoding) {
        if (strcasecmp(encoding, "chunked") || head->minor_version == 0)
            return malformed(err, "transfer encoding");
        *body = (struct http_body){.framing = HTTP_BODY_CHUNKED};
        return 0;
    }
    if (length) {
        int64_t n;
        if (str_parse_int(length, 0, INT64_MAX, &n) < 0)
            return malformed(err, "content length");
        *body =
            (struct http_body){.framing = HTTP_BODY_LENGTH, .left = (uint64_t)n, .done = n == 0};
        return 0;
    }
    if (kind == HTTP_RESPONSE)
        *body = (struct http_body){.framing = HTTP_BODY_UNTIL_CLOSE};
    return 0;
}

/* RFC 9112 section 7.1. */
enum chunk_state {
    CHUNK_SIZE,      /* hexadecimal digits */
    CHUNK_EXTENSION, /* skipped up to the end of its line */
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER, /* at the start of a line */
    CHUNK_TRAILER_LINE,
    CHUNK_TRAILER_LF,
    CHUNK_LAST_LF,
};

enum { CHUNK_LINE_MAX = 4096, CHUNK_SIZE_DIGITS_MAX = 15 };

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte behind the digits of a chunk's size, or one of them. */
static int chunk_size_byte(struct http_body *body, char c)
{
    int digit = hex_digit(c);
    if (digit >= 0 && body->line < CHUNK_SIZE_DIGITS_MAX) {
        body->left = body->left * 16 + (uint64_t)digit;
        body->line++;
        return CHUNK_SIZE;
    }
    if (digit >= 0 || body->line == 0)
        return -1;
    body->line = 0;
    return c == '\r' ? CHUNK_SIZE_LF : c == ';' || c == ' ' || c == '\t' ? CHUNK_EXTENSION : -1;
}

/* A byte that is no content. Returns the next state, or -1. */
static int chunk_byte(struct http_body *body, char c)
{
    switch (body->state) {
    case CHUNK_SIZE:
        return chunk_size_byte(body, c);
    case CHUNK_EXTENSION:
        return c == '\r'                                    ? CHUNK_SIZE_LF
               : c == '\n' || ++body->line > CHUNK_LINE_MAX ? -1
                                                            : CHUNK_EXTENSION;
    case CHUNK_SIZE_LF:
        body->line = 0;
        return c != '\n' ? -1 : body->left ? CHUNK_DATA : CHUNK_TRAILER;
    case CHUNK_DATA_CR:
        return c == '\r' ? CHUNK_DATA_LF : -1;
    case CHUNK_DATA_LF:
        return c == '\n' ? CHUNK_SIZE : -1;
    case CHUNK_TRAILER:
        return c == '\r' ? CHUNK_LAST_LF : c == '\n' ? -1 : CHUNK_TRAILER_LINE;
    case CHUNK_TRAILER_LINE:
        return c == '\r'                                    ? CHUNK_TRAILER_LF
               : c == '\n' || ++body->line > CHUNK_LINE_MAX ? -1
                                                            : CHUNK_TRAILER_LINE;
    case CHUNK_TRAILER_LF:
        return c == '\n' ? CHUNK_TRAILER : -1;
    case CHUNK_LAST_LF:
        body->done = c == '\n';
        return c == '\n' ? CHUNK_LAST_LF : -1;
    }
    return -1;
}

static int feed_chunked(struct http_body *body, const char *in, size_t len, size_t *used,
                        const char **data, size_t *data_len, struct err *err)
{
    while (*used < len && !body->done) {
        if (body->state == CHUNK_DATA) {
            size_t n = len - *used < body->left ? len - *used : (size_t)body->left;
            *data = in + *used;
            *data_len = n;
            *used += n;
            body->left -= n;
            if (!body->left)
                body->state = CHUNK_DATA_CR;
            return 0;
        }
        int next = chunk_byte(body, in[(*used)++]);
        if (next < 0)
            return malformed(err, "chunk");
        body->state = next;
    }
    return 0;
}

int http_body_feed(struct http_body *body, const char *in, size_t len, size_t *used,
                   const char **data, size_t *data_len, struct err *err)
{
    *used = 0;
    *data = in;
    *data_len = 0;
    if (body->done)
        return 0;
    if (body->framing == HTTP_BODY_CHUNKED)
        return feed_chunked(body, in, len, used, data, data_len, err);
    size_t n = len;
    if (body->framing == HTTP_BODY_LENGTH) {
        n = len < body->left ? len : (size_t)body->left;
        body->left -= n;
        body->done = body->left == 0;
    }
    *used = *data_len = n;
    return 0;
}

int http_body_eof(struct http_body *body, struct err *err)
{
    if (body->framing == HTTP_BODY_UNTIL_CLOSE)
        body->done = true;
    return body->done
               ? 0
               : err_set(err, ERR_PROTOCOL, "the connection was closed in the middle of a message");
}
