#include "cli/live.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/fields.h"
#include "cli/format.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "cli/words.h"
#include "task/state.h"

void live_init(struct live *live)
{
    *live = (struct live){.round = 1, .created_ms = -1, .phase_ms = -1};
    buf_init(&live->tail, LIVE_TAIL_MAX);
    for (size_t i = 0; i < LIVE_COMMANDS; i++)
        buf_init(&live->commands[i].tail, LIVE_TAIL_MAX);
}

static void command_clear(struct live_command *command)
{
    command->id[0] = '\0';
    free(command->command);
    command->command = NULL;
    buf_clear(&command->tail);
}

static void commands_clear(struct live *live)
{
    for (size_t i = 0; i < LIVE_COMMANDS; i++)
        command_clear(&live->commands[i]);
}

void live_release(struct live *live)
{
    commands_clear(live);
    for (size_t i = 0; i < LIVE_COMMANDS; i++)
        buf_release(&live->commands[i].tail);
    buf_release(&live->tail);
    free(live->waiting_for);
    free(live->activity);
    *live = (struct live){0};
}

/* Keep the end of what was in TAIL with TEXT behind it. */
static void tail_add(struct buf *tail, const char *text)
{
    size_t len = strlen(text);
    if (len > tail->max) {
        text += len - tail->max;
        len = tail->max;
    }
    if (len > tail->max - tail->len)
        buf_consume(tail, len - (tail->max - tail->len));
    buf_append(tail, text, len);
}

/* The slot of the item ID, or a free one, or the oldest. */
static struct live_command *command_slot(struct live *live, const char *id)
{
    struct live_command *slot = NULL, *oldest = &live->commands[0];
    for (size_t i = 0; i < LIVE_COMMANDS; i++) {
        struct live_command *command = &live->commands[i];
        if (!strcmp(command->id, id))
            return command;
        if (!command->id[0])
            slot = command;
        if (command->started_ms < oldest->started_ms)
            oldest = command;
    }
    if (!slot) {
        command_clear(oldest);
        slot = oldest;
    }
    return slot;
}

static void take_command(struct live *live, const json_t *event, bool completed)
{
    const json_t *item = field_at(event, "item");
    char id[LIVE_ID_SIZE];
    snprintf(id, sizeof id, "%s", field_text_or(item, "id", "?"));
    struct live_command *command = command_slot(live, id);
    if (completed) {
        command_clear(command);
        return;
    }
    if (!command->id[0]) {
        memcpy(command->id, id, sizeof id);
        command->command = text_clean(field_text_or(item, "command", "?"));
        command->started_ms = field_time(event, "ts");
    }
    buf_clear(&command->tail); /* every stage of the item has all of its output */
    tail_add(&command->tail, field_text_or(item, "aggregated_output", ""));
}

static void take_item(struct live *live, const json_t *event, const char *stage)
{
    if (!strcmp(field_text_or(event, "item.type", ""), "command_execution"))
        take_command(live, event, !strcmp(stage, "item.completed"));
}

static void set_text(char **field, const char *text)
{
    free(*field);
    *field = text ? text_clean(text) : NULL;
}

/* A run's states and its phases come one after the other under the same names; the others (queued,
 * delivering …) belong to no phase. */
static void take_state(struct live *live, const json_t *event)
{
    enum task_state state;
    snprintf(live->state, sizeof live->state, "%s", field_text_or(event, "state", ""));
    live->ended = state_is_final(live->state);
    if (task_state_parse(live->state, &state) == 0 && !task_state_running(state))
        live->phase[0] = '\0';
    live->phase_ms = field_time(event, "ts");
    set_text(&live->waiting_for, NULL);
    commands_clear(live); /* a new run does not go on with the commands of the last */
}

static void take_phase(struct live *live, const json_t *event)
{
    snprintf(live->phase, sizeof live->phase, "%s", field_text_or(event, "phase", ""));
    live->round = field_int(event, "round", 1);
    live->phase_ms = field_time(event, "ts");
    buf_clear(&live->tail);
    set_text(&live->activity, NULL);
    commands_clear(live);
}

void live_event(struct live *live, const json_t *event)
{
    const char *type = field_text_or(event, "type", "");
    if (live->created_ms < 0)
        live->created_ms = field_time(event, "ts");
    if (str_starts_with(type, "item."))
        take_item(live, event, type);
    else if (!strcmp(type, "task.state"))
        take_state(live, event);
    else if (!strcmp(type, "phase.started"))
        take_phase(live, event);
    else if (!strcmp(type, "phase.output"))
        tail_add(&live->tail, field_text_or(event, "text", ""));
    else if (!strcmp(type, "model.usage")) {
        live->input_tokens += field_int(event, "usage.input_tokens", 0);
        live->output_tokens += field_int(event, "usage.output_tokens", 0);
    }
}

void live_task(struct live *live, const json_t *task)
{
    set_text(&live->waiting_for, field_text(task, "waiting_for"));
    set_text(&live->activity, field_text(task, "activity"));
}

static const struct live_command *newest_command(const struct live *live)
{
    const struct live_command *newest = NULL;
    for (size_t i = 0; i < LIVE_COMMANDS; i++) {
        const struct live_command *command = &live->commands[i];
        if (command->id[0] && (!newest || command->started_ms >= newest->started_ms))
            newest = command;
    }
    return newest;
}

struct block {
    struct buf *out;
    size_t columns, rows;
    bool color;
};

static void block_line(struct block *block, enum style style, const char *text)
{
    if (block->rows == 0)
        return;
    block->rows--;
    style_begin(block->out, block->color, style);
    text_append_cut(block->out, text, block->columns);
    style_end(block->out, block->color, style);
    buf_append_char(block->out, '\n');
}

static void since(struct buf *line, const char *before, int64_t from_ms, int64_t now_ms,
                  const char *after)
{
    char elapsed[FORMAT_SIZE];
    if (from_ms < 0)
        return;
    format_duration(now_ms - from_ms, elapsed);
    buf_appendf(line, "%s%s%s", before, elapsed, after);
}

static void status_line(const struct live *live, struct block *block, int64_t now_ms)
{
    AUTO_BUF struct buf line;
    buf_init(&line, 1024);
    append_line(&line, live->phase[0] ? live->phase : live->state, 20);
    if (live->phase[0] && live->round > 1)
        buf_appendf(&line, ", round %lld", (long long)live->round);
    since(&line, " ", live->phase_ms, now_ms, "");
    since(&line, " (all ", live->created_ms, now_ms, ")");
    if (live->input_tokens || live->output_tokens) {
        char in[FORMAT_SIZE], written[FORMAT_SIZE];
        format_count(live->input_tokens, in);
        format_count(live->output_tokens, written);
        buf_appendf(&line, ", %s tokens in, %s out", in, written);
    }
    block_line(block, STYLE_BOLD, line.data);
}

/* "$ npm test (12s)", or what else the task waits for. Returns the output to show below, or
 * NULL. */
static const char *activity_line(const struct live *live, struct block *block, int64_t now_ms)
{
    AUTO_BUF struct buf line;
    buf_init(&line, LIVE_TAIL_MAX * 16);
    const struct live_command *command = newest_command(live);
    bool working = !strcmp(live->phase, "working");
    /* While the agent works, its events tell what runs: sooner than the server is asked again. */
    const char *text = command ? command->command : working ? NULL : live->activity;
    if (text) {
        buf_append_str(&line, "$ ");
        text_append_cut(&line, text, block->columns > 30 ? block->columns - 12 : 18);
        since(&line, " (", command ? command->started_ms : -1, now_ms, ")");
    } else if (live->waiting_for) {
        buf_appendf(&line, "waits for %s", live->waiting_for);
    } else if (working) {
        buf_append_str(&line, "the model thinks");
    }
    if (line.len)
        block_line(block, STYLE_CYAN, line.data);
    if (command)
        return command->tail.data;
    return working ? NULL : live->tail.data;
}

/* As many of the last lines of OUTPUT as there are rows left. */
static void output_lines(struct block *block, const char *output)
{
    AUTO_FREE char *clean = text_clean(output);
    size_t len = strlen(clean);
    while (len && clean[len - 1] == '\n')
        clean[--len] = '\0';
    const char *p = clean + len;
    for (size_t lines = 0; p > clean; p--)
        if (p[-1] == '\n' && ++lines == block->rows)
            break;
    while (*p && block->rows) {
        size_t line_len = strcspn(p, "\n");
        AUTO_FREE char *line = str_format("| %.*s", (int)line_len, p);
        block_line(block, STYLE_DIM, line);
        p += p[line_len] ? line_len + 1 : line_len;
    }
}

void live_append(const struct live *live, int64_t now_ms, size_t columns, size_t rows, bool color,
                 struct buf *out)
{
    struct block block = {
        .out = out,
        .columns = columns > 1 ? columns - 1 : 1,
        .rows = rows < LIVE_LINES_MAX ? rows : LIVE_LINES_MAX,
        .color = color,
    };
    if (!live->state[0] || live->ended)
        return;
    status_line(live, &block, now_ms);
    const char *output = activity_line(live, &block, now_ms);
    if (output && *output)
        output_lines(&block, output);
}
