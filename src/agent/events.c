#include "agent/events.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/json_text.h"

enum {
    LINE_MAX_BYTES = 4 << 20, /* of one event: six bytes for each of a text's worst characters */
    CHANGES_MAX = 1000,       /* of files and of to-do items in one event */
    KEEP_BYTES = 16384,       /* of the line's memory, until the next event */
    POLL_STEP_MS = 100,       /* how soon a SIGTERM is noticed while the reader is slow */
};

struct events {
    int fd;
    unsigned session;
    unsigned items;
    int status;
    struct buf line;
};

struct events *events_new(int fd, unsigned session)
{
    struct events *events = calloc(1, sizeof *events);
    if (!events)
        abort();
    *events = (struct events){.fd = fd, .session = session};
    if (fd >= 0)
        io_set_nonblocking(fd, true);
    buf_init(&events->line, LINE_MAX_BYTES);
    return events;
}

void events_free(struct events *events)
{
    if (!events)
        return;
    buf_release(&events->line);
    free(events);
}

int events_status(const struct events *events)
{
    return events->status;
}

/* Blocked and pending, until the loop comes to read it. */
static bool asked_to_stop(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 && sigismember(&pending, SIGTERM) == 1;
}

static int wait_writable(int fd)
{
    while (!asked_to_stop()) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        int n = poll(&p, 1, POLL_STEP_MS);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
    }
    return -EINTR;
}

static int write_line(int fd, const char *bytes, size_t len)
{
    while (len) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return -errno;
        if (n < 0) {
            int status = wait_writable(fd);
            if (status < 0)
                return status;
            continue;
        }
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* End the line and send it. Its parts were appended without looking: here is where a line that
 * would not fit its buffer is noticed, by its missing end. */
static void send_line(struct events *events)
{
    if (events->status < 0 || events->fd < 0)
        return;
    if (buf_append_char(&events->line, '\n') < 0)
        events->status = -EMSGSIZE;
    else
        events->status = write_line(events->fd, events->line.data, events->line.len);
    if (events->line.cap > KEEP_BYTES)
        buf_release(&events->line);
}

static struct buf *begin(struct events *events, const char *type)
{
    buf_clear(&events->line);
    buf_appendf(&events->line, "{\"type\":\"%s\"", type);
    return &events->line;
}

static void member_text(struct buf *line, const char *name, const char *text, size_t len)
{
    buf_appendf(line, ",\"%s\":", name);
    if (len <= EVENTS_TEXT_MAX) {
        json_text_string(line, text, len);
        return;
    }
    enum { HALF = EVENTS_TEXT_MAX / 2 };
    struct buf cut;
    buf_init(&cut, EVENTS_TEXT_MAX + 64);
    buf_append(&cut, text, HALF);
    buf_appendf(&cut, "\n…%zu bytes left out…\n", len - 2 * (size_t)HALF);
    buf_append(&cut, text + len - HALF, HALF);
    json_text_string(line, cut.data, cut.len);
    buf_release(&cut);
}

static void member_str(struct buf *line, const char *name, const char *text)
{
    member_text(line, name, text, strlen(text));
}

static struct buf *begin_item(struct events *events, enum event_stage stage, const char *id,
                              const char *type)
{
    static const char *const stages[] = {"item.started", "item.updated", "item.completed"};
    struct buf *line = begin(events, stages[stage]);
    buf_appendf(line, ",\"item\":{\"id\":\"%s\",\"type\":\"%s\"", id, type);
    return line;
}

static void end_item(struct events *events)
{
    buf_append_str(&events->line, "}}");
    send_line(events);
}

void events_thread_started(struct events *events, const char *thread_id)
{
    member_str(begin(events, "thread.started"), "thread_id", thread_id);
    buf_append_char(&events->line, '}');
    send_line(events);
}

void events_turn_started(struct events *events)
{
    buf_append_char(begin(events, "turn.started"), '}');
    send_line(events);
}

void events_turn_completed(struct events *events, const struct token_usage *usage)
{
    buf_appendf(begin(events, "turn.completed"),
                ",\"usage\":{\"input_tokens\":%lld,\"cached_input_tokens\":%lld,"
                "\"output_tokens\":%lld,\"reasoning_output_tokens\":%lld}}",
                (long long)usage->input_tokens, (long long)usage->cached_input_tokens,
                (long long)usage->output_tokens, (long long)usage->reasoning_output_tokens);
    send_line(events);
}

void events_turn_failed(struct events *events, const char *message)
{
    struct buf *line = begin(events, "turn.failed");
    buf_append_str(line, ",\"error\":{\"message\":");
    json_text_cstring(line, message);
    buf_append_str(line, "}}");
    send_line(events);
}

void events_error(struct events *events, const char *message)
{
    member_str(begin(events, "error"), "message", message);
    buf_append_char(&events->line, '}');
    send_line(events);
}

void events_item_id(struct events *events, char id[EVENTS_ID_SIZE])
{
    if (events->session == 0)
        snprintf(id, EVENTS_ID_SIZE, "item_%u", events->items++);
    else
        snprintf(id, EVENTS_ID_SIZE, "item_%u_%u", events->session, events->items++);
}

static void text_item(struct events *events, enum event_stage stage, const char *id,
                      const char *type, const char *text)
{
    member_str(begin_item(events, stage, id, type), "text", text);
    end_item(events);
}

void events_agent_message(struct events *events, enum event_stage stage, const char *id,
                          const char *text)
{
    text_item(events, stage, id, "agent_message", text);
}

void events_reasoning(struct events *events, enum event_stage stage, const char *id,
                      const char *text)
{
    text_item(events, stage, id, "reasoning", text);
}

void events_item_error(struct events *events, const char *message)
{
    char id[EVENTS_ID_SIZE];
    events_item_id(events, id);
    member_str(begin_item(events, EVENT_COMPLETED, id, "error"), "message", message);
    end_item(events);
}

void events_command(struct events *events, enum event_stage stage, const char *id,
                    const struct event_command *command)
{
    struct buf *line = begin_item(events, stage, id, "command_execution");
    member_str(line, "command", command->command);
    member_text(line, "aggregated_output", command->output ? command->output : "",
                command->output ? command->output_len : 0);
    if (command->ended)
        buf_appendf(line, ",\"exit_code\":%d", command->exit_code);
    else
        buf_append_str(line, ",\"exit_code\":null");
    member_str(line, "status", command->status);
    end_item(events);
}

void events_file_change(struct events *events, enum event_stage stage, const char *id,
                        const struct event_change *changes, size_t count, const char *status)
{
    struct buf *line = begin_item(events, stage, id, "file_change");
    buf_append_str(line, ",\"changes\":[");
    for (size_t i = 0; i < count && i < CHANGES_MAX; i++) {
        buf_append_str(line, i ? ",{\"path\":" : "{\"path\":");
        json_text_cstring(line, changes[i].path);
        buf_appendf(line, ",\"kind\":\"%s\"}", changes[i].kind);
    }
    buf_append_char(line, ']');
    member_str(line, "status", status);
    end_item(events);
}

void events_todo_list(struct events *events, enum event_stage stage, const char *id,
                      const struct event_todo *items, size_t count)
{
    struct buf *line = begin_item(events, stage, id, "todo_list");
    buf_append_str(line, ",\"items\":[");
    for (size_t i = 0; i < count && i < CHANGES_MAX; i++) {
        buf_append_str(line, i ? ",{\"text\":" : "{\"text\":");
        json_text_cstring(line, items[i].text);
        buf_appendf(line, ",\"completed\":%s}", items[i].completed ? "true" : "false");
    }
    buf_append_char(line, ']');
    end_item(events);
}
