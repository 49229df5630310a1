#include "workspace/message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/refname.h"
#include "base/str.h"

enum {
    SUBMIT_MAX = 128 << 10, /* bytes of submit.json */
    TITLE_SHOWN = 72,       /* bytes of a title that is made from a prompt */
};

static const char ellipsis[] = "…";

void message_init(struct message *message)
{
    buf_init(&message->title, MESSAGE_TITLE_MAX);
    buf_init(&message->body, MESSAGE_BODY_MAX);
    message->branch = NULL;
}

void message_release(struct message *message)
{
    buf_release(&message->title);
    buf_release(&message->body);
    free(message->branch);
    message->branch = NULL;
}

/* The length of TEXT, at most MAX, without cutting a character in two. */
static size_t whole_characters(const char *text, size_t max)
{
    size_t len = strnlen(text, max + 1);
    if (len <= max)
        return len;
    len = max;
    while (len && ((unsigned char)text[len] & 0xc0) == 0x80)
        len--;
    return len;
}

/* TEXT without what a message cannot have: control characters become spaces, in a BODY line ends
 * and tabs stay; white space at both ends goes. As much as fits. */
static void append_clean(struct buf *out, const char *text, bool body)
{
    while (*text && ((unsigned char)*text <= 0x20 || *text == 0x7f))
        text++;
    size_t len = whole_characters(text, out->max - out->len);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool control = c < 0x20 || c == 0x7f;
        bool kept = body && (c == '\n' || c == '\t');
        if (body && c == '\r' && text[i + 1] == '\n')
            continue;
        buf_append_char(out, control && !kept ? ' ' : (char)c);
    }
    while (out->len && strchr(" \t\n", out->data[out->len - 1]))
        out->data[--out->len] = '\0';
}

static int take_submission(const json_t *json, struct message *message, struct err *err)
{
    const char *title = json_string_value(json_object_get(json, "title"));
    const char *body = json_string_value(json_object_get(json, "body"));
    const char *branch = json_string_value(json_object_get(json, "branch"));
    if (title)
        append_clean(&message->title, title, false);
    if (!message->title.len)
        return err_set(err, ERR_USAGE, "it has no title");
    if (body)
        append_clean(&message->body, body, true);
    if (!branch || !*branch)
        return 1;
    int status = refname_check_branch(branch, err);
    if (status < 0)
        return status;
    message->branch = str_dup(branch);
    return 1;
}

int message_from_submission(const char *state_dir, struct message *message, struct err *err)
{
    AUTO_BUF struct buf text;
    buf_init(&text, SUBMIT_MAX);
    AUTO_FD int dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return errno == ENOENT ? 0 : err_errno(err, "cannot open '%s'", state_dir);
    int status = io_read_file_at(dir, "submit.json", &text, err);
    if (status < 0)
        return status == -ENOENT ? 0 : status;
    json_error_t error;
    json_t *json = json_loadb(text.data, text.len, 0, &error);
    status = json ? take_submission(json, message, err)
                  : err_set(err, ERR_USAGE, "line %d: %s", error.line, error.text);
    json_decref(json);
    return status < 0 ? err_context(err, "submit.json") : status;
}

/* At a word's end if there is one in the second half. */
static void shorten(struct buf *title)
{
    size_t len = whole_characters(title->data, TITLE_SHOWN - (sizeof ellipsis - 1));
    for (size_t i = len; i > len / 2; i--)
        if (title->data[i] == ' ') {
            len = i;
            break;
        }
    title->len = len;
    title->data[len] = '\0';
    buf_append_str(title, ellipsis);
}

void message_from_prompt(const char *prompt, struct message *message)
{
    prompt += strspn(prompt, " \t\r\n");
    AUTO_FREE char *line = str_format("%.*s", (int)strcspn(prompt, "\r\n"), prompt);
    buf_clear(&message->title);
    buf_clear(&message->body);
    append_clean(&message->title, line, false);
    bool cut = message->title.len > TITLE_SHOWN;
    if (cut)
        shorten(&message->title);
    if (!message->title.len)
        buf_append_str(&message->title, "Work of a coding agent");
    if (cut || prompt[strlen(line)])
        append_clean(&message->body, prompt, true);
}

void message_format(const struct message *message, struct buf *out)
{
    buf_appendf(out, "%s\n", message->title.data);
    if (message->body.len)
        buf_appendf(out, "\n%s\n", message->body.data);
}
