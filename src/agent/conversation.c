#include "agent/conversation_private.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum { RECORD_MAX_BYTES = CONVERSATION_MAX_BYTES + (1 << 20) };

struct json_span conversation_text(const struct conversation *c)
{
    return (struct json_span){c->text.data, c->text.len};
}

bool conversation_is_empty(const struct conversation *c)
{
    return c->text.len == 0;
}

bool conversation_has_ended(const struct conversation *c)
{
    return c->ended;
}

unsigned conversation_session(const struct conversation *c)
{
    return c->sessions - 1;
}

const struct response *conversation_last(const struct conversation *c)
{
    return &c->last;
}

const struct token_usage *conversation_usage(const struct conversation *c)
{
    return &c->usage;
}

size_t conversation_calls(const struct conversation *c)
{
    return c->calls_count;
}

const struct item *conversation_call(const struct conversation *c, size_t i)
{
    return c->calls[i].item;
}

static int check_room(const struct conversation *c, size_t len, struct err *err)
{
    if (len < c->text.max - c->text.len)
        return 0;
    return err_set(err, ERR_LIMIT, "the conversation would be larger than %d MiB",
                   CONVERSATION_MAX_BYTES >> 20);
}

/* One element, or several that are divided by commas already. There is room. */
static void append(struct conversation *c, struct json_span element)
{
    if (c->text.len)
        buf_append_char(&c->text, ',');
    buf_append(&c->text, element.at, element.len);
}

int conversation_append_all(struct conversation *c, struct brackets brackets, size_t count,
                            struct json_span (*item)(const struct conversation *c, size_t i),
                            struct err *err)
{
    struct buf text;
    buf_init(&text, CONVERSATION_MAX_BYTES);
    int status = buf_append_str(&text, brackets.open);
    for (size_t i = 0, added = 0; i < count && status == 0; i++) {
        struct json_span span = item(c, i);
        if (!span.len)
            continue;
        if (added++)
            buf_append_char(&text, ',');
        status = buf_append(&text, span.at, span.len);
    }
    if (status == 0)
        status = buf_append_str(&text, brackets.close);
    status = check_room(c, status < 0 ? CONVERSATION_MAX_BYTES : text.len + 1, err);
    if (status == 0)
        append(c, (struct json_span){text.data, text.len});
    buf_release(&text);
    return status;
}

void conversation_free_span(struct json_span span)
{
    free((char *)span.at);
}

struct json_span conversation_copy_span(struct json_span span)
{
    char *copy = malloc(span.len + 1);
    if (!copy)
        abort();
    memcpy(copy, span.at, span.len);
    copy[span.len] = '\0';
    return (struct json_span){copy, span.len};
}

void conversation_forget_calls(struct conversation *c)
{
    for (size_t i = 0; i < c->calls_count; i++) {
        conversation_free_span(c->calls[i].output);
        conversation_free_span(c->calls[i].image);
    }
    free(c->calls);
    c->calls = NULL;
    c->calls_count = c->calls_open = 0;
    response_release(&c->last);
}

static void add_usage(struct token_usage *sum, const struct token_usage *usage)
{
    sum->input_tokens += usage->input_tokens;
    sum->cached_input_tokens += usage->cached_input_tokens;
    sum->output_tokens += usage->output_tokens;
    sum->reasoning_output_tokens += usage->reasoning_output_tokens;
}

static size_t items_len(const struct response *response)
{
    size_t len = 64; /* the brackets */
    for (size_t i = 0; i < response->count; i++)
        len += response->items[i].json_len + 1;
    return len;
}

static struct json_span last_item(const struct conversation *c, size_t i)
{
    return (struct json_span){c->last.items[i].json, c->last.items[i].json_len};
}

int conversation_take_response(struct conversation *c, struct response *response, struct err *err)
{
    int status = check_room(c, items_len(response), err);
    if (status < 0)
        return status;
    conversation_forget_calls(c);
    c->last = *response;
    *response = (struct response){0};
    c->calls = calloc(c->last.count ? c->last.count : 1, sizeof *c->calls);
    if (!c->calls)
        abort();
    for (size_t i = 0; i < c->last.count; i++)
        if (c->last.items[i].kind == ITEM_CALL)
            c->calls[c->calls_count++].item = &c->last.items[i];
    c->calls_open = c->calls_count;
    c->ended = c->last.count && !c->calls_count && !c->last.paused;
    add_usage(&c->usage, &c->last.usage);
    return c->last.count
               ? conversation_append_all(c, c->provider->answer, c->last.count, last_item, err)
               : 0;
}

int conversation_take_user(struct conversation *c, struct json_span items, struct err *err)
{
    int status = check_room(c, items.len + 1, err);
    if (status < 0)
        return status;
    c->ended = false;
    append(c, items);
    return 0;
}

void conversation_take_round(struct conversation *c, struct json_span item)
{
    conversation_free_span(c->round_item);
    c->round_item = conversation_copy_span(item);
    c->rounds++;
    c->usage = (struct token_usage){0};
}

int conversation_write_record(struct conversation *c, struct err *err)
{
    if (buf_append_str(&c->record, "}\n") < 0)
        return err_set(err, ERR_LIMIT, "a record of the journal would be too large");
    int status = journal_append(c->journal, c->record.data, c->record.len, err);
    c->records++;
    /* Its memory is kept only while it is small: the agent waits for most of its life. */
    if (c->record.cap > 16384)
        buf_release(&c->record);
    return status;
}

struct buf *conversation_begin_record(struct conversation *c, const char *name)
{
    buf_clear(&c->record);
    buf_appendf(&c->record, "{\"%s\":", name);
    return &c->record;
}

static int write_start(struct conversation *c, const char *task, struct err *err)
{
    int status = 0;
    if (!c->records) {
        buf_appendf(conversation_begin_record(c, "journal"),
                    "1,\"wire_api\":\"%s\",\"task\":", c->provider->wire_api);
        json_text_cstring(&c->record, task);
        status = conversation_write_record(c, err);
    }
    char now[CLOCK_RFC3339_SIZE];
    clock_rfc3339(clock_real_ms(), now);
    buf_appendf(conversation_begin_record(c, "session"), "%u,\"time\":\"%s\"", c->sessions++, now);
    return status < 0 ? status : conversation_write_record(c, err);
}

struct conversation *conversation_open(const struct provider *provider, int state_dir_fd,
                                       const char *task, struct err *err)
{
    struct conversation *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    c->provider = provider;
    buf_init(&c->text, CONVERSATION_MAX_BYTES);
    buf_init(&c->record, RECORD_MAX_BYTES);
    if (conversation_restore(c, state_dir_fd, task, err) == 0 && write_start(c, task, err) == 0)
        return c;
    conversation_free(c);
    return NULL;
}

void conversation_free(struct conversation *c)
{
    if (!c)
        return;
    conversation_forget_calls(c);
    journal_free(c->journal);
    buf_release(&c->text);
    buf_release(&c->record);
    conversation_free_span(c->round_item);
    free(c);
}

/* Messages of ours as a list that ends the record; *ITEMS is what stands between its brackets. */
static int put_messages(struct conversation *c, const struct message *messages, size_t count,
                        struct json_span *items, struct err *err)
{
    buf_append_char(&c->record, '[');
    size_t start = c->record.len;
    int status = c->provider->user_messages(&c->record, messages, count);
    size_t len = c->record.len - start;
    if (status < 0 || buf_append_char(&c->record, ']') < 0)
        return err_set(err, ERR_LIMIT, "a message to the model is too large");
    *items = (struct json_span){c->record.data + start, len};
    return check_room(c, len + 1, err);
}

/* Write the record that ends with ITEMS, and put those into the conversation. */
static int write_and_append(struct conversation *c, struct json_span items, bool begins_round,
                            struct err *err)
{
    struct json_span copy =
        conversation_copy_span(items); /* writing the record may drop its memory */
    int status = conversation_write_record(c, err);
    if (status == 0 && begins_round)
        conversation_take_round(c, copy);
    if (status == 0)
        status = conversation_take_user(c, copy, err);
    conversation_free_span(copy);
    return status;
}

int conversation_add_user(struct conversation *c, const struct message *messages, size_t count,
                          struct err *err)
{
    struct json_span items;
    conversation_begin_record(c, "user");
    int status = put_messages(c, messages, count, &items, err);
    return status < 0 ? status : write_and_append(c, items, false, err);
}

int conversation_begin_round(struct conversation *c, struct message message, struct err *err)
{
    struct json_span items;
    buf_appendf(conversation_begin_record(c, "round"), "%u,\"user\":", c->rounds + 2);
    int status = put_messages(c, &message, 1, &items, err);
    if (status < 0)
        return status;
    if (!c->ended && c->round_item.len == items.len &&
        !memcmp(c->round_item.at, items.at, items.len))
        return 0;
    return write_and_append(c, items, true, err);
}

int conversation_add_response(struct conversation *c, struct response *response, struct err *err)
{
    int status = check_room(c, items_len(response), err);
    if (status < 0)
        return status;
    const struct token_usage *usage = &response->usage;
    buf_appendf(conversation_begin_record(c, "response"),
                "{\"usage\":[%lld,%lld,%lld,%lld],%s\"items\":[", (long long)usage->input_tokens,
                (long long)usage->cached_input_tokens, (long long)usage->output_tokens,
                (long long)usage->reasoning_output_tokens,
                response->paused ? "\"paused\":true," : "");
    for (size_t i = 0, added = 0; i < response->count; i++) {
        if (!response->items[i].json)
            continue;
        if (added++)
            buf_append_char(&c->record, ',');
        buf_append(&c->record, response->items[i].json, response->items[i].json_len);
    }
    buf_append_str(&c->record, "]}");
    status = conversation_write_record(c, err);
    return status < 0 ? status : conversation_take_response(c, response, err);
}

int conversation_end(struct conversation *c, struct err *err)
{
    buf_append_str(conversation_begin_record(c, "ended"), "true");
    c->ended = true;
    return conversation_write_record(c, err);
}

int conversation_sync(struct conversation *c, struct err *err)
{
    return journal_sync(c->journal, err);
}
