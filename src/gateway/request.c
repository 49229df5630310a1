#include "gateway/request.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum member { MEMBER_OTHER, MEMBER_MODEL, MEMBER_STREAM, MEMBER_INPUT, MEMBER_BACKGROUND };

/* Where the members of an element of `input` are: in the body, in the array, in the element. */
enum { BODY_DEPTH = 1, ITEM_DEPTH = 3 };

void request_check_init(struct request_check *check, const char *model)
{
    *check = (struct request_check){.model = model};
    json_scan_init(&check->scan);
}

static int take_member_name(struct request_check *check, const struct json_scan *scan)
{
    if (!scan->plain)
        return err_set(check->err, ERR_PROTOCOL,
                       "the names of the request's members must be plain ASCII without escapes");
    check->member = json_scan_is(scan, "model")             ? MEMBER_MODEL
                    : json_scan_is(scan, "stream")          ? MEMBER_STREAM
                    : json_scan_is(scan, "input")           ? MEMBER_INPUT
                    : !strcasecmp(scan->text, "background") ? MEMBER_BACKGROUND
                                                            : MEMBER_OTHER;
    if (!strcasecmp(scan->text, "model") && check->member != MEMBER_MODEL)
        return err_set(check->err, ERR_REFUSED, "'model' must be written in small letters");
    if (check->member == MEMBER_MODEL && check->model_seen)
        return err_set(check->err, ERR_REFUSED, "'model' is given twice");
    return 0;
}

static int take_model(struct request_check *check, const struct json_scan *scan,
                      enum json_token token)
{
    check->model_seen = true;
    if (token == JSON_TOKEN_STRING && json_scan_is(scan, check->model))
        return 0;
    return err_set(check->err, ERR_REFUSED, "this task may use the model '%s' only", check->model);
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

static int take_background(struct request_check *check, enum json_token token)
{
    if (token == JSON_TOKEN_FALSE || token == JSON_TOKEN_NULL)
        return 0;
    return err_set(check->err, ERR_PROTOCOL, "'background' is not possible here");
}

static int take_token(void *arg, const struct json_scan *scan, enum json_token token)
{
    struct request_check *check = arg;
    if (scan->depth == 0) {
        if (token == JSON_TOKEN_OBJECT_END)
            return check->model_seen ? 0 : err_set(check->err, ERR_REFUSED, "'model' is missing");
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
            check->wants_stream = token == JSON_TOKEN_TRUE;
    }
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
