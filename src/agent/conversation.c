#include "agent/conversation_private.h"

#include <errno.h>
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

/* The elements that COUNT items become, as ITEM(c, i) gives them (empty: none of its own). */
static int append_all(struct conversation *c, struct brackets brackets, size_t count,
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

/* Some spans are owned: made here, and released here. */
static void free_span(struct json_span span)
{
    free((char *)span.at);
}

static struct json_span copy_span(struct json_span span)
{
    char *copy = malloc(span.len + 1);
    if (!copy)
        abort();
    memcpy(copy, span.at, span.len);
    copy[span.len] = '\0';
    return (struct json_span){copy, span.len};
}

static void forget_calls(struct conversation *c)
{
    for (size_t i = 0; i < c->calls_count; i++) {
        free_span(c->calls[i].output);
        free_span(c->calls[i].image);
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

static struct json_span output_of(const struct conversation *c, size_t i)
{
    return c->calls[i].output;
}

static struct json_span image_of(const struct conversation *c, size_t i)
{
    return c->calls[i].image;
}

int conversation_take_response(struct conversation *c, struct response *response, struct err *err)
{
    int status = check_room(c, items_len(response), err);
    if (status < 0)
        return status;
    forget_calls(c);
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
    return c->last.count ? append_all(c, c->provider->answer, c->last.count, last_item, err) : 0;
}

/* Make room for later images. Taken again from the journal, it comes to the same. */
static void limit_images(struct conversation *c)
{
    static const char note[] =
        "[An image was here. Only the latest are kept: view it again if it still matters.]";
    if (c->images <= CONVERSATION_IMAGES_MAX && c->image_bytes <= CONVERSATION_IMAGES_BYTES)
        return;
    const struct image_form *form = &c->provider->image;
    struct json_span text = conversation_text(c), image;
    size_t offset = 0, dropped = 0;
    c->image_bytes = 0; /* counted again: a model may have written one into a call's arguments */
    c->images = image_count(text, form, &c->image_bytes);
    while ((c->images > CONVERSATION_IMAGES_MAX / 2 ||
            c->image_bytes > CONVERSATION_IMAGES_BYTES / 2) &&
           image_next(text, form, &offset, &image)) {
        c->images--;
        c->image_bytes -= image.len;
        dropped++;
    }
    struct buf shorter;
    buf_init(&shorter, c->text.max);
    if (!image_leave_out(text, form, dropped, note, &shorter)) {
        buf_release(&shorter); /* tiny ones may be shorter than the note, and the text full */
        return;
    }
    buf_release(&c->text);
    c->text = shorter;
}

static void count_images(struct conversation *c, struct json_span text)
{
    size_t bytes = 0;
    c->images += image_count(text, &c->provider->image, &bytes);
    c->image_bytes += bytes;
    c->image_bytes_ever += bytes;
}

/* Everything of the last answer's calls enters the conversation. */
static int append_outputs(struct conversation *c, struct err *err)
{
    bool apart = false;
    for (size_t i = 0; i < c->calls_count; i++)
        apart |= c->calls[i].image.len > 0;
    int status = append_all(c, c->provider->outputs, c->calls_count, output_of, err);
    if (status == 0 && apart)
        status = append_all(c, c->provider->images, c->calls_count, image_of, err);
    return status;
}

int conversation_take_output(struct conversation *c, size_t i, struct json_span item,
                             struct json_span image, struct err *err)
{
    c->calls[i].output = copy_span(item);
    c->calls[i].image = image.len ? copy_span(image) : (struct json_span){0};
    count_images(c, item);
    count_images(c, image);
    if (--c->calls_open)
        return 0;
    int status = append_outputs(c, err);
    forget_calls(c);
    if (status == 0)
        limit_images(c);
    return status;
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
    free_span(c->round_item);
    c->round_item = copy_span(item);
    c->rounds++;
    c->usage = (struct token_usage){0};
}

static int write_record(struct conversation *c, struct err *err)
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

static struct buf *begin_record(struct conversation *c, const char *name)
{
    buf_clear(&c->record);
    buf_appendf(&c->record, "{\"%s\":", name);
    return &c->record;
}

static int write_start(struct conversation *c, const char *task, struct err *err)
{
    int status = 0;
    if (!c->records) {
        buf_appendf(begin_record(c, "journal"),
                    "1,\"wire_api\":\"%s\",\"task\":", c->provider->wire_api);
        json_text_cstring(&c->record, task);
        status = write_record(c, err);
    }
    char now[CLOCK_RFC3339_SIZE];
    clock_rfc3339(clock_real_ms(), now);
    buf_appendf(begin_record(c, "session"), "%u,\"time\":\"%s\"", c->sessions++, now);
    return status < 0 ? status : write_record(c, err);
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
    forget_calls(c);
    journal_free(c->journal);
    buf_release(&c->text);
    buf_release(&c->record);
    free_span(c->round_item);
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
    struct json_span copy = copy_span(items); /* writing the record may drop its memory */
    int status = write_record(c, err);
    if (status == 0 && begins_round)
        conversation_take_round(c, copy);
    if (status == 0)
        status = conversation_take_user(c, copy, err);
    free_span(copy);
    return status;
}

int conversation_add_user(struct conversation *c, const struct message *messages, size_t count,
                          struct err *err)
{
    struct json_span items;
    begin_record(c, "user");
    int status = put_messages(c, messages, count, &items, err);
    return status < 0 ? status : write_and_append(c, items, false, err);
}

int conversation_begin_round(struct conversation *c, struct message message, struct err *err)
{
    struct json_span items;
    buf_appendf(begin_record(c, "round"), "%u,\"user\":", c->rounds + 2);
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
    buf_appendf(begin_record(c, "response"), "{\"usage\":[%lld,%lld,%lld,%lld],%s\"items\":[",
                (long long)usage->input_tokens, (long long)usage->cached_input_tokens,
                (long long)usage->output_tokens, (long long)usage->reasoning_output_tokens,
                response->paused ? "\"paused\":true," : "");
    for (size_t i = 0, added = 0; i < response->count; i++) {
        if (!response->items[i].json)
            continue;
        if (added++)
            buf_append_char(&c->record, ',');
        buf_append(&c->record, response->items[i].json, response->items[i].json_len);
    }
    buf_append_str(&c->record, "]}");
    status = write_record(c, err);
    return status < 0 ? status : conversation_take_response(c, response, err);
}

int conversation_end(struct conversation *c, struct err *err)
{
    buf_append_str(begin_record(c, "ended"), "true");
    c->ended = true;
    return write_record(c, err);
}

int conversation_call_started(struct conversation *c, size_t i, struct err *err)
{
    c->calls[i].started = true;
    json_text_cstring(begin_record(c, "started"), c->calls[i].item->call_id);
    return write_record(c, err);
}

/* The record of an output; *ITEM and *IMAGE become what it has of them, copied. */
static int put_output(struct conversation *c, size_t i, struct message text,
                      const struct image *image, struct json_span *item, struct json_span *parts)
{
    const struct provider *provider = c->provider;
    struct buf *record = begin_record(c, "output");
    size_t start = record->len;
    if (provider->call_output(record, c->calls[i].item, text.text, text.len, image) < 0)
        return -ERANGE;
    *item = copy_span((struct json_span){record->data + start, record->len - start});
    if (!image || !provider->output_image)
        return 0;
    if (buf_append_str(record, ",\"image\":[") < 0)
        return -ERANGE;
    start = record->len;
    if (provider->output_image(record, c->calls[i].item, image) < 0)
        return -ERANGE;
    *parts = copy_span((struct json_span){record->data + start, record->len - start});
    return buf_append_char(record, ']');
}

static int add_output(struct conversation *c, size_t i, struct message text,
                      const struct image *image, struct err *err)
{
    struct json_span item = {0}, parts = {0};
    int status = put_output(c, i, text, image, &item, &parts);
    if (status < 0)
        err_set(err, status = ERR_LIMIT, "the output of a call is too large");
    if (status == 0)
        status = write_record(c, err);
    if (status == 0)
        status = conversation_take_output(c, i, item, parts, err);
    free_span(item);
    free_span(parts);
    return status;
}

int conversation_call_output(struct conversation *c, size_t i, const char *text, size_t len,
                             const struct image *image, struct err *err)
{
    static const char note[] = "\n[The image is left out: this task has shown too many already.]";
    bool fits = !image || image->base64_len + c->image_bytes_ever <= CONVERSATION_IMAGES_EVER_BYTES;
    if (fits)
        return add_output(c, i, (struct message){text, len}, image, err);
    struct buf with_note;
    buf_init(&with_note, len + sizeof note);
    buf_append(&with_note, text, len);
    buf_append_str(&with_note, note);
    int status = add_output(c, i, (struct message){with_note.data, with_note.len}, NULL, err);
    buf_release(&with_note);
    return status;
}

int conversation_interrupt_calls(struct conversation *c, struct err *err)
{
    static const char interrupted[] =
        "Interrupted: the agent was stopped while this call was running, and it was not run again. "
        "It may have taken effect in part: look before you repeat it.";
    static const char not_begun[] =
        "Not run: the agent was stopped before this call was begun. Call again if it is still "
        "wanted.";
    int status = 0;
    for (size_t i = 0; c->calls_open && status == 0; i++)
        if (!c->calls[i].output.at) {
            const char *text = c->calls[i].started ? interrupted : not_begun;
            status = conversation_call_output(c, i, text, strlen(text), NULL, err);
        }
    return status;
}

int conversation_sync(struct conversation *c, struct err *err)
{
    return journal_sync(c->journal, err);
}
