/* Taking the steps of a conversation again, from its journal. */
#include "agent/conversation_private.h"

#include <jansson.h>
#include <string.h>

static int bad_record(struct err *err, const char *why)
{
    return err_set(err, ERR_PROTOCOL, "%s", why);
}

static int read_items(struct conversation *c, struct response *response, const json_t *items,
                      struct json_span raw, struct err *err)
{
    struct json_span element;
    size_t offset = 0, i = 0;
    while (json_text_element(raw, &offset, &element)) {
        int status = c->provider->read_item(response, json_array_get(items, i++), element, err);
        if (status < 0)
            return status;
    }
    return 0;
}

/* As conversation_add_response() writes it. */
static struct token_usage read_usage(const json_t *figures)
{
    return (struct token_usage){
        .input_tokens = json_integer_value(json_array_get(figures, 0)),
        .cached_input_tokens = json_integer_value(json_array_get(figures, 1)),
        .output_tokens = json_integer_value(json_array_get(figures, 2)),
        .reasoning_output_tokens = json_integer_value(json_array_get(figures, 3)),
    };
}

static int restore_response(struct conversation *c, const json_t *record, struct json_span raw,
                            struct err *err)
{
    struct json_span items;
    if (!json_text_member(raw, "response", &items) || !json_text_member(items, "items", &items))
        return bad_record(err, "a response without items");
    const json_t *object = json_object_get(record, "response");
    struct response response = {.usage = read_usage(json_object_get(object, "usage")),
                                .paused = json_is_true(json_object_get(object, "paused"))};
    int status = read_items(c, &response, json_object_get(object, "items"), items, err);
    if (status == 0 && !response_ids_are_unique(&response))
        status = bad_record(err, "two calls with one id");
    if (status == 0)
        status = conversation_take_response(c, &response, err);
    response_release(&response);
    return status;
}

static struct call *find_call(struct conversation *c, const char *call_id)
{
    for (size_t i = 0; call_id && i < c->calls_count; i++)
        if (!strcmp(c->calls[i].item->call_id, call_id))
            return &c->calls[i];
    return NULL;
}

/* What is in a list. */
static struct json_span between_brackets(struct json_span list)
{
    return (struct json_span){list.at + 1, list.len - 2};
}

static int restore_output(struct conversation *c, const json_t *record, struct json_span raw,
                          struct err *err)
{
    const json_t *item = json_object_get(record, "output");
    const char *id = json_string_value(json_object_get(item, c->provider->output_id));
    struct call *call = find_call(c, id);
    struct json_span span, image = {0};
    if (!call || call->output.at || !json_text_member(raw, "output", &span))
        return bad_record(err, "an output without its call");
    if (json_array_size(json_object_get(record, "image")) &&
        json_text_member(raw, "image", &image)) {
        if (!c->provider->output_image)
            return bad_record(err, "an image beside its output, on another wire");
        image = between_brackets(image);
    }
    return conversation_take_output(c, (size_t)(call - c->calls), span, image, err);
}

static int restore_user(struct conversation *c, const json_t *record, struct json_span raw,
                        struct err *err)
{
    struct json_span span;
    if (!json_array_size(json_object_get(record, "user")) ||
        !json_text_member(raw, "user", &span) || span.len < 2)
        return bad_record(err, "a message without an item");
    span = between_brackets(span);
    if (json_object_get(record, "round"))
        conversation_take_round(c, span);
    return conversation_take_user(c, span, err);
}

struct restoring {
    struct conversation *conversation;
    const char *task;
};

/* The first record. One without `wire_api` is of the time when there was only one. */
static int check_first(const struct restoring *restoring, const json_t *record, struct err *err)
{
    const char *task = json_string_value(json_object_get(record, "task"));
    const char *wire = json_string_value(json_object_get(record, "wire_api"));
    const char *own_wire = restoring->conversation->provider->wire_api;
    if (json_integer_value(json_object_get(record, "journal")) != 1 || !task)
        return bad_record(err, "not the journal of an agent");
    if (strcmp(task, restoring->task) != 0)
        return err_set(err, ERR_PROTOCOL, "the journal is that of %s", task);
    if (strcmp(wire ? wire : "responses", own_wire) != 0)
        return err_set(err, ERR_PROTOCOL,
                       "the conversation was begun with wire_api '%s' and cannot go on with '%s'",
                       wire ? wire : "responses", own_wire);
    return 0;
}

static int restore_record(struct restoring *restoring, const json_t *record, struct json_span raw,
                          struct err *err)
{
    struct conversation *c = restoring->conversation;
    if (!c->records++)
        return check_first(restoring, record, err);
    if (json_object_get(record, "user"))
        return restore_user(c, record, raw, err);
    if (json_object_get(record, "response"))
        return restore_response(c, record, raw, err);
    if (json_object_get(record, "output"))
        return restore_output(c, record, raw, err);
    struct call *call = find_call(c, json_string_value(json_object_get(record, "started")));
    if (call)
        call->started = true;
    else if (json_object_get(record, "ended"))
        c->ended = true;
    else if (json_object_get(record, "session"))
        c->sessions++;
    else
        return bad_record(err, "an unknown record");
    return 0;
}

static int on_line(void *arg, const char *line, size_t len, struct err *err)
{
    json_error_t error;
    json_t *record = json_loadb(line, len, JSON_ALLOW_NUL, &error);
    int status = json_is_object(record)
                     ? restore_record(arg, record, (struct json_span){line, len}, err)
                     : bad_record(err, "not a JSON object");
    json_decref(record);
    return status;
}

int conversation_restore(struct conversation *c, int state_dir_fd, const char *task,
                         struct err *err)
{
    struct restoring restoring = {c, task};
    struct err own;
    err = err ? err : &own;
    c->journal = journal_open(state_dir_fd, on_line, &restoring, err);
    return c->journal ? 0 : err->code;
}
