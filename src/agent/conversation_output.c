/* The outputs of calls, on their way into the conversation, and the images in them. */
#include "agent/conversation_private.h"

#include <errno.h>
#include <string.h>

static struct json_span output_of(const struct conversation *c, size_t i)
{
    return c->calls[i].output;
}

static struct json_span image_of(const struct conversation *c, size_t i)
{
    return c->calls[i].image;
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
    int status = conversation_append_all(c, c->provider->outputs, c->calls_count, output_of, err);
    if (status == 0 && apart)
        status = conversation_append_all(c, c->provider->images, c->calls_count, image_of, err);
    return status;
}

int conversation_take_output(struct conversation *c, size_t i, struct json_span item,
                             struct json_span image, struct err *err)
{
    c->calls[i].output = conversation_copy_span(item);
    c->calls[i].image = image.len ? conversation_copy_span(image) : (struct json_span){0};
    count_images(c, item);
    count_images(c, image);
    if (--c->calls_open)
        return 0;
    int status = append_outputs(c, err);
    conversation_forget_calls(c);
    if (status == 0)
        limit_images(c);
    return status;
}

int conversation_call_started(struct conversation *c, size_t i, struct err *err)
{
    c->calls[i].started = true;
    json_text_cstring(conversation_begin_record(c, "started"), c->calls[i].item->call_id);
    return conversation_write_record(c, err);
}

/* The record of an output; *ITEM and *PARTS become what it has of them, copied. */
static int put_output(struct conversation *c, size_t i, struct message text,
                      const struct image *image, struct json_span *item, struct json_span *parts)
{
    const struct provider *provider = c->provider;
    struct buf *record = conversation_begin_record(c, "output");
    size_t start = record->len;
    if (provider->call_output(record, c->calls[i].item, text.text, text.len, image) < 0)
        return -ERANGE;
    *item = conversation_copy_span((struct json_span){record->data + start, record->len - start});
    if (!image || !provider->output_image)
        return 0;
    if (buf_append_str(record, ",\"image\":[") < 0)
        return -ERANGE;
    start = record->len;
    if (provider->output_image(record, c->calls[i].item, image) < 0)
        return -ERANGE;
    *parts = conversation_copy_span((struct json_span){record->data + start, record->len - start});
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
        status = conversation_write_record(c, err);
    if (status == 0)
        status = conversation_take_output(c, i, item, parts, err);
    conversation_free_span(item);
    conversation_free_span(parts);
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
