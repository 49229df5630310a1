#include "gateway/request.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum member {
    MEMBER_OTHER,
    MEMBER_MODEL,
    MEMBER_STREAM,
    MEMBER_OPTIONS,
    MEMBER_INPUT,
    MEMBER_BACKGROUND,
};

/* Where the members of an element of `input` are: in the body, in the array, in the element. */
enum { BODY_DEPTH = 1, OPTIONS_DEPTH = 2, ITEM_DEPTH = 3 };

void request_check_init(struct request_check *check, const char *model, bool asks_usage)
{
    *check = (struct request_check){.model = model, .asks_usage = asks_usage};
    json_scan_init(&check->scan);
}

/* The key is NAME, once, in no other spelling (some parsers ignore case), or something else. Returns
 * 1, 0, or CODE. */
static int take_name(struct request_check *check, const struct json_scan *scan, const char *name,
                     bool *seen, int code)
{
    if (strcasecmp(scan->text, name))
        return 0;
    if (!json_scan_is(scan, name))
        return err_set(check->err, code, "'%s' must be written in small letters", name);
    if (*seen)
        return err_set(check->err, code, "'%s' is given twice", name);
    *seen = true;
    return 1;
}

static int take_stream_name(struct request_check *check, const struct json_scan *scan)
{
    int status = take_name(check, scan, "stream", &check->stream_seen, ERR_PROTOCOL);
    if (status == 1)
        check->member = MEMBER_STREAM;
    if (status == 0) {
        status = take_name(check, scan, "stream_options", &check->options_seen, ERR_PROTOCOL);
        if (status == 1)
            check->member = MEMBER_OPTIONS;
    }
    return status < 0 ? status : 0;
}

static int take_member_name(struct request_check *check, const struct json_scan *scan)
{
    if (!scan->plain)
        return err_set(check->err, ERR_PROTOCOL,
                       "the names of the request's members must be plain ASCII without escapes");
    check->member = json_scan_is(scan, "stream")            ? MEMBER_STREAM
                    : json_scan_is(scan, "input")           ? MEMBER_INPUT
                    : !strcasecmp(scan->text, "background") ? MEMBER_BACKGROUND
                                                            : MEMBER_OTHER;
    int status = take_name(check, scan, "model", &check->model_seen, ERR_REFUSED);
    if (status == 1)
        check->member = MEMBER_MODEL;
    if (status == 0 && check->asks_usage)
        return take_stream_name(check, scan);
    return status < 0 ? status : 0;
}

static int take_model(struct request_check *check, const struct json_scan *scan,
                      enum json_token token)
{
    if (token == JSON_TOKEN_STRING && json_scan_is(scan, check->model))
        return 0;
    return err_set(check->err, ERR_REFUSED, "this task may use the model '%s' only", check->model);
}

static int no_usage(struct request_check *check)
{
    return err_set(check->err, ERR_PROTOCOL,
                   "a stream must be asked for with \"stream_options\":{\"include_usage\":true}: "
                   "without its usage it cannot be counted");
}

/* Nothing that a server could take for true in its own way. */
static int take_stream(struct request_check *check, enum json_token token)
{
    check->wants_stream = token == JSON_TOKEN_TRUE;
    if (check->asks_usage && token != JSON_TOKEN_TRUE && token != JSON_TOKEN_FALSE &&
        token != JSON_TOKEN_NULL)
        return err_set(check->err, ERR_PROTOCOL, "'stream' must be true or false");
    return 0;
}

/* A member of `stream_options`, or its value. */
static int take_option(struct request_check *check, const struct json_scan *scan,
                       enum json_token token)
{
    if (token == JSON_TOKEN_KEY) {
        if (!scan->plain)
            return no_usage(check);
        int status = take_name(check, scan, "include_usage", &check->usage_seen, ERR_PROTOCOL);
        check->names_usage = status == 1;
        return status < 0 ? status : 0;
    }
    return check->names_usage && token != JSON_TOKEN_TRUE ? no_usage(check) : 0;
}

/* "rs_r12_0", "call_r12_0": what replay.c calls the items that it serves. */
static void take_item_name(struct request_check *check, const struct json_scan *scan)
{
    int turn, n, end = 0;
    const char *r = strstr(scan->text, "_r");
    if (!scan->plain || scan->text_len > 32 || !r)
        return;
    if (sscanf(r, "_r%7d_%7d%n", &turn, &n, &end) != 2 || r[end])
        return;
    if (turn > check->highest_turn && turn <= REQUEST_TURN_MAX)
        check->highest_turn = turn;
}

enum image_key { IMAGE_KEY_OTHER, IMAGE_KEY_URL, IMAGE_KEY_TYPE, IMAGE_KEY_DATA };

static enum image_key image_key_of(const struct json_scan *scan)
{
    if (json_scan_is(scan, "url") || json_scan_is(scan, "image_url"))
        return IMAGE_KEY_URL;
    if (json_scan_is(scan, "media_type"))
        return IMAGE_KEY_TYPE;
    return json_scan_is(scan, "data") ? IMAGE_KEY_DATA : IMAGE_KEY_OTHER;
}

static void take_image_string(struct request_check *check, const struct json_scan *scan,
                              enum image_key key)
{
    bool is_image = (key == IMAGE_KEY_URL && !strncmp(scan->text, "data:image/", 11)) ||
                    (key == IMAGE_KEY_DATA && check->image_type);
    if (key == IMAGE_KEY_TYPE)
        check->image_type = !strncmp(scan->text, "image/", 6);
    if (!is_image || !scan->plain)
        return;
    check->images++;
    check->image_bytes += scan->text_len;
}

static void note_image(struct request_check *check, const struct json_scan *scan,
                       enum json_token token)
{
    enum image_key key = (enum image_key)check->image_key;
    check->image_key = token == JSON_TOKEN_KEY ? image_key_of(scan) : IMAGE_KEY_OTHER;
    if (token == JSON_TOKEN_OBJECT || token == JSON_TOKEN_OBJECT_END)
        check->image_type = false;
    else if (token == JSON_TOKEN_STRING && key != IMAGE_KEY_OTHER)
        take_image_string(check, scan, key);
}

static int take_background(struct request_check *check, enum json_token token)
{
    if (token == JSON_TOKEN_FALSE || token == JSON_TOKEN_NULL)
        return 0;
    return err_set(check->err, ERR_PROTOCOL, "'background' is not possible here");
}

static int take_token(void *arg, const struct json_scan *scan, enum json_token token)
{
    struct request_check *check = arg;
    note_image(check, scan, token);
    if (scan->depth == 0) {
        if (token == JSON_TOKEN_OBJECT_END && !check->model_seen)
            return err_set(check->err, ERR_REFUSED, "'model' is missing");
        if (token == JSON_TOKEN_OBJECT_END)
            return check->asks_usage && check->wants_stream && !check->usage_seen ? no_usage(check)
                                                                                  : 0;
        return token == JSON_TOKEN_OBJECT
                   ? 0
                   : err_set(check->err, ERR_PROTOCOL, "the request's body is not a JSON object");
    }
    if (scan->depth == BODY_DEPTH) {
        if (token == JSON_TOKEN_KEY)
            return take_member_name(check, scan);
        if (check->member == MEMBER_MODEL)
            return take_model(check, scan, token);
        if (check->member == MEMBER_BACKGROUND)
            return take_background(check, token);
        if (check->member == MEMBER_STREAM)
            return take_stream(check, token);
    }
    if (scan->depth == OPTIONS_DEPTH && check->member == MEMBER_OPTIONS)
        return take_option(check, scan, token);
    if (scan->depth == ITEM_DEPTH && check->member == MEMBER_INPUT) {
        if (token == JSON_TOKEN_STRING && check->names_item)
            take_item_name(check, scan);
        check->names_item =
            token == JSON_TOKEN_KEY && (json_scan_is(scan, "id") || json_scan_is(scan, "call_id"));
    }
    return 0;
}

int request_check_feed(struct request_check *check, const char *bytes, size_t len, struct err *err)
{
    check->err = err;
    return json_scan_feed(&check->scan, bytes, len, take_token, check, err);
}

int request_check_end(struct request_check *check, struct err *err)
{
    check->err = err;
    return json_scan_end(&check->scan, take_token, check, err);
}
