#include "gateway/json_scan.h"

#include <string.h>

#include "base/str.h"

enum scan_state {
    AT_VALUE,
    AT_FIRST_ELEMENT, /* behind '[': a value or ']' */
    AT_FIRST_KEY,     /* behind '{': a key or '}' */
    AT_KEY,           /* behind ',' in an object */
    AT_COLON,
    BEHIND_VALUE, /* ',' or the container's end */
    IN_STRING,
    IN_ESCAPE,
    IN_UNICODE,
    IN_NUMBER,
    IN_LITERAL,
    AT_END,
};

enum number_state {
    NUMBER_MINUS,
    NUMBER_ZERO,
    NUMBER_INTEGER,
    NUMBER_POINT,
    NUMBER_FRACTION,
    NUMBER_EXPONENT,
    NUMBER_EXPONENT_SIGN,
    NUMBER_EXPONENT_DIGITS,
    NUMBER_OVER, /* the byte is no longer of the number */
    NUMBER_BAD,
};

struct sink {
    json_scan_fn *fn;
    void *arg;
    struct err *err;
};

static int bad(const struct sink *sink, const char *what)
{
    return err_set(sink->err, ERR_PROTOCOL, "malformed JSON: %s", what);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void begin_text(struct json_scan *scan)
{
    scan->text_len = 0;
    scan->text[0] = '\0';
    scan->plain = true;
}

static void add_text(struct json_scan *scan, const char *bytes, size_t len)
{
    if (scan->text_len < JSON_SCAN_TEXT_MAX) {
        size_t room = JSON_SCAN_TEXT_MAX - scan->text_len, n = len < room ? len : room;
        memcpy(scan->text + scan->text_len, bytes, n);
        scan->text[scan->text_len + n] = '\0';
    }
    scan->text_len += len;
}

static bool in_object(const struct json_scan *scan)
{
    unsigned top = scan->depth - 1;
    return scan->depth && (scan->is_object[top / 64] >> (top % 64) & 1);
}

static int value_ended(struct json_scan *scan)
{
    scan->state = scan->depth ? BEHIND_VALUE : AT_END;
    return 0;
}

static int open_container(struct json_scan *scan, bool object, const struct sink *sink)
{
    if (scan->depth == JSON_SCAN_DEPTH_MAX)
        return bad(sink, "nested too deeply");
    int status = sink->fn(sink->arg, scan, object ? JSON_TOKEN_OBJECT : JSON_TOKEN_ARRAY);
    uint64_t bit = (uint64_t)1 << (scan->depth % 64), *word = &scan->is_object[scan->depth / 64];
    *word = object ? *word | bit : *word & ~bit;
    scan->depth++;
    scan->state = object ? AT_FIRST_KEY : AT_FIRST_ELEMENT;
    return status;
}

static int close_container(struct json_scan *scan, char c, const struct sink *sink)
{
    bool object = in_object(scan);
    if (!scan->depth || c != (object ? '}' : ']'))
        return bad(sink, "a bracket that was not opened");
    scan->depth--;
    value_ended(scan);
    return sink->fn(sink->arg, scan, object ? JSON_TOKEN_OBJECT_END : JSON_TOKEN_ARRAY_END);
}

static int begin_string(struct json_scan *scan, bool is_key)
{
    begin_text(scan);
    scan->is_key = is_key;
    scan->state = IN_STRING;
    return 0;
}

static int end_string(struct json_scan *scan, const struct sink *sink)
{
    if (scan->is_key)
        scan->state = AT_COLON;
    else
        value_ended(scan);
    return sink->fn(sink->arg, scan, scan->is_key ? JSON_TOKEN_KEY : JSON_TOKEN_STRING);
}

/* The first byte of a character that is not ASCII: Unicode 15, table 3-7. */
static int begin_utf8(struct json_scan *scan, unsigned char c, const struct sink *sink)
{
    scan->plain = false;
    scan->utf8_left = c >= 0xc2 && c <= 0xdf   ? 1
                      : c >= 0xe0 && c <= 0xef ? 2
                      : c >= 0xf0 && c <= 0xf4 ? 3
                                               : 0;
    scan->utf8_low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    scan->utf8_high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    return scan->utf8_left ? 0 : bad(sink, "invalid UTF-8");
}

static int string_byte(struct json_scan *scan, char byte, const struct sink *sink)
{
    unsigned char c = (unsigned char)byte;
    if (scan->utf8_left) {
        if (c < scan->utf8_low || c > scan->utf8_high)
            return bad(sink, "invalid UTF-8");
        scan->utf8_low = 0x80;
        scan->utf8_high = 0xbf;
        scan->utf8_left--;
    } else if (c == '"') {
        return end_string(scan, sink);
    } else if (c < 0x20) {
        return bad(sink, "control character in a string");
    } else if (c >= 0x80 && begin_utf8(scan, c, sink) < 0) {
        return ERR_PROTOCOL;
    } else if (c == '\\') {
        scan->plain = false;
        scan->state = IN_ESCAPE;
    }
    add_text(scan, &byte, 1);
    return 0;
}

static int escape_byte(struct json_scan *scan, char c, const struct sink *sink)
{
    if (!c || !strchr("\"\\/bfnrtu", c))
        return bad(sink, "unknown escape");
    scan->state = c == 'u' ? IN_UNICODE : IN_STRING;
    scan->unicode_left = 4;
    add_text(scan, &c, 1);
    return 0;
}

static int unicode_byte(struct json_scan *scan, char c, const struct sink *sink)
{
    char lower = c | 0x20;
    if (!is_digit(c) && (lower < 'a' || lower > 'f'))
        return bad(sink, "unknown escape");
    if (--scan->unicode_left == 0)
        scan->state = IN_STRING;
    add_text(scan, &c, 1);
    return 0;
}

static enum number_state next_number(enum number_state state, char c)
{
    bool digit = is_digit(c), exponent = c == 'e' || c == 'E';
    switch (state) {
    case NUMBER_MINUS:
        return c == '0' ? NUMBER_ZERO : digit ? NUMBER_INTEGER : NUMBER_BAD;
    case NUMBER_ZERO:
        return c == '.' ? NUMBER_POINT : exponent ? NUMBER_EXPONENT : NUMBER_OVER;
    case NUMBER_INTEGER:
        return digit      ? NUMBER_INTEGER
               : c == '.' ? NUMBER_POINT
               : exponent ? NUMBER_EXPONENT
                          : NUMBER_OVER;
    case NUMBER_POINT:
        return digit ? NUMBER_FRACTION : NUMBER_BAD;
    case NUMBER_FRACTION:
        return digit ? NUMBER_FRACTION : exponent ? NUMBER_EXPONENT : NUMBER_OVER;
    case NUMBER_EXPONENT:
        return digit                  ? NUMBER_EXPONENT_DIGITS
               : c == '+' || c == '-' ? NUMBER_EXPONENT_SIGN
                                      : NUMBER_BAD;
    case NUMBER_EXPONENT_SIGN:
        return digit ? NUMBER_EXPONENT_DIGITS : NUMBER_BAD;
    case NUMBER_EXPONENT_DIGITS:
        return digit ? NUMBER_EXPONENT_DIGITS : NUMBER_OVER;
    default:
        return NUMBER_BAD;
    }
}

static int begin_number(struct json_scan *scan, char c, const struct sink *sink)
{
    begin_text(scan);
    scan->number = c == '-' ? NUMBER_MINUS : (int)next_number(NUMBER_MINUS, c);
    if (scan->number == NUMBER_BAD)
        return bad(sink, "unexpected character");
    scan->state = IN_NUMBER;
    add_text(scan, &c, 1);
    return 0;
}

/* Returns 1 when C ended the number and is still to be read. */
static int number_byte(struct json_scan *scan, char c, const struct sink *sink)
{
    scan->number = (int)next_number((enum number_state)scan->number, c);
    if (scan->number == NUMBER_BAD)
        return bad(sink, "number");
    if (scan->number == NUMBER_OVER) {
        value_ended(scan);
        int status = sink->fn(sink->arg, scan, JSON_TOKEN_NUMBER);
        return status < 0 ? status : 1;
    }
    add_text(scan, &c, 1);
    return 0;
}

static int literal_byte(struct json_scan *scan, char c, const struct sink *sink)
{
    if (c != *scan->literal)
        return bad(sink, "unexpected character");
    if (*++scan->literal)
        return 0;
    value_ended(scan);
    char last = scan->literal[-2]; /* tr-u-e, fal-s-e, nul-l */
    return sink->fn(sink->arg, scan,
                    last == 'u'   ? JSON_TOKEN_TRUE
                    : last == 's' ? JSON_TOKEN_FALSE
                                  : JSON_TOKEN_NULL);
}

static int begin_value(struct json_scan *scan, char c, const struct sink *sink)
{
    switch (c) {
    case '{':
    case '[':
        return open_container(scan, c == '{', sink);
    case '"':
        return begin_string(scan, false);
    case 't':
    case 'f':
    case 'n':
        scan->literal = c == 't' ? "rue" : c == 'f' ? "alse" : "ull";
        scan->state = IN_LITERAL;
        return 0;
    default:
        return begin_number(scan, c, sink);
    }
}

/* A byte between tokens that is no white space. */
static int structure_byte(struct json_scan *scan, char c, const struct sink *sink)
{
    switch (scan->state) {
    case AT_FIRST_ELEMENT:
        return c == ']' ? close_container(scan, c, sink) : begin_value(scan, c, sink);
    case AT_VALUE:
        return begin_value(scan, c, sink);
    case AT_FIRST_KEY:
        if (c == '}')
            return close_container(scan, c, sink);
        /* fall through */
    case AT_KEY:
        return c == '"' ? begin_string(scan, true) : bad(sink, "a member without a name");
    case AT_COLON:
        scan->state = AT_VALUE;
        return c == ':' ? 0 : bad(sink, "':' expected");
    case BEHIND_VALUE:
        if (c != ',')
            return close_container(scan, c, sink);
        scan->state = in_object(scan) ? AT_KEY : AT_VALUE;
        return 0;
    default:
        return bad(sink, "something behind the end");
    }
}

static int scan_byte(struct json_scan *scan, char c, const struct sink *sink)
{
    switch (scan->state) {
    case IN_STRING:
        return string_byte(scan, c, sink);
    case IN_ESCAPE:
        return escape_byte(scan, c, sink);
    case IN_UNICODE:
        return unicode_byte(scan, c, sink);
    case IN_NUMBER:
        return number_byte(scan, c, sink);
    case IN_LITERAL:
        return literal_byte(scan, c, sink);
    default:
        return is_space(c) ? 0 : structure_byte(scan, c, sink);
    }
}

static bool is_ordinary(char c)
{
    return (signed char)c >= 0x20 && c != '"' && c != '\\';
}

/* Whether one of the eight bytes may be no ordinary one: the tests for a zero byte and for a byte
 * below n of "Bit Twiddling Hacks" (Anderson), which never miss one. */
static bool may_hold_special(uint64_t word)
{
    static const uint64_t ones = UINT64_C(0x0101010101010101), highs = UINT64_C(0x8080808080808080);
    uint64_t quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\');
    uint64_t control = (word - ones * 0x20) & ~word;
    return ((control | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) | word) &
            highs) != 0;
}

/* Bytes at the front of a string's rest that stand for themselves. Nearly all of a request is in
 * strings: eight at a time, this is what checking a request costs. */
static size_t ordinary_span(const char *bytes, size_t len)
{
    size_t n = 0;
    for (uint64_t word; n + sizeof word <= len; n += sizeof word) {
        memcpy(&word, bytes + n, sizeof word);
        if (may_hold_special(word))
            break;
    }
    while (n < len && is_ordinary(bytes[n]))
        n++;
    return n;
}

void json_scan_init(struct json_scan *scan)
{
    *scan = (struct json_scan){.state = AT_VALUE};
}

int json_scan_feed(struct json_scan *scan, const char *bytes, size_t len, json_scan_fn *fn,
                   void *arg, struct err *err)
{
    struct sink sink = {fn, arg, err};
    for (size_t i = 0; i < len;) {
        if (scan->state == IN_STRING && !scan->utf8_left) {
            size_t span = ordinary_span(bytes + i, len - i);
            add_text(scan, bytes + i, span);
            i += span;
            if (i == len)
                break;
        }
        int status = scan_byte(scan, bytes[i], &sink);
        if (status < 0)
            return status;
        i += status == 0;
    }
    return 0;
}

int json_scan_end(struct json_scan *scan, json_scan_fn *fn, void *arg, struct err *err)
{
    /* A space ends a number, and nothing else. */
    int status = scan->state == IN_NUMBER ? json_scan_feed(scan, " ", 1, fn, arg, err) : 0;
    if (status < 0)
        return status;
    return scan->state == AT_END ? 0 : err_set(err, ERR_PROTOCOL, "malformed JSON: cut off");
}

bool json_scan_is(const struct json_scan *scan, const char *s)
{
    return scan->plain && scan->text_len <= JSON_SCAN_TEXT_MAX && !strcmp(scan->text, s);
}

int64_t json_scan_integer(const struct json_scan *scan, int64_t max)
{
    int64_t n;
    if (scan->text_len > JSON_SCAN_TEXT_MAX || str_parse_int(scan->text, 0, max, &n) < 0)
        return -1;
    return n;
}
