/* The agent's items: messages, thoughts, commands, changes, plans. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/fields.h"
#include "cli/render_lines.h"
#include "cli/text.h"
#include "cli/words.h"

struct item {
    const json_t *event, *item;
    bool started, completed; /* neither: updated */
};

typedef void item_fn(struct render *render, const struct item *item, struct buf *out);

static void render_message(struct render *render, const struct item *item, struct buf *out)
{
    if (item->completed)
        lines_add(render, item->event, STYLE_BOLD, "", field_text(item->item, "text"), out);
}

static void render_reasoning(struct render *render, const struct item *item, struct buf *out)
{
    const char *text = field_text_or(item->item, "text", "");
    if (!item->completed || !*text)
        return;
    if (!render->brief) {
        lines_add(render, item->event, STYLE_DIM, "thinking: ", text, out);
        return;
    }
    AUTO_FREE char *clean = text_clean(text);
    AUTO_FREE char *line = str_format("thinking: %.*s", (int)strcspn(clean, "\n"), clean);
    line_add(render, item->event, 2, STYLE_DIM, line, out);
}

static void command_line(struct render *render, const struct item *item, struct buf *out)
{
    const char *command = field_text_or(item->item, "command", "?");
    if (render->brief) {
        AUTO_BUF struct buf line;
        buf_init(&line, RENDER_EVENT_MAX);
        buf_append_str(&line, "$ ");
        append_line(&line, command, 200);
        line_add(render, item->event, 2, STYLE_CYAN, line.data, out);
    } else {
        lines_add(render, item->event, STYLE_CYAN, "$ ", command, out);
    }
    snprintf(render->command, sizeof render->command, "%s", field_text_or(item->item, "id", ""));
}

static void render_command(struct render *render, const struct item *item, struct buf *out)
{
    const char *id = field_text_or(item->item, "id", "");
    if (item->started)
        command_line(render, item, out);
    if (!item->completed)
        return;
    /* Something else came in between: say again what this is the output of. */
    if (!*id || strncmp(render->command, id, sizeof render->command - 1) != 0)
        command_line(render, item, out);
    int64_t exit_code = field_int(item->item, "exit_code", -1);
    const char *output = field_text_or(item->item, "aggregated_output", "");
    if (!render->brief || exit_code != 0)
        output_add(render, output, render->brief ? RENDER_BRIEF_LINES : 0, out);
    char line[64];
    if (exit_code >= 0)
        snprintf(line, sizeof line, "exit %lld", (long long)exit_code);
    else
        snprintf(line, sizeof line, "interrupted");
    if (exit_code != 0 || !render->brief)
        line_add(render, item->event, 2, exit_code == 0 ? STYLE_DIM : STYLE_RED, line, out);
    render->command[0] = '\0';
}

static const char *change_letter(const char *kind)
{
    return !strcmp(kind, "add") ? "A" : !strcmp(kind, "delete") ? "D" : "M";
}

static void render_change(struct render *render, const struct item *item, struct buf *out)
{
    if (!item->completed)
        return;
    bool failed = !strcmp(field_text_or(item->item, "status", ""), "failed");
    size_t i;
    const json_t *change;
    json_array_foreach(field_at(item->item, "changes"), i, change) {
        AUTO_BUF struct buf line;
        buf_init(&line, RENDER_EVENT_MAX);
        buf_appendf(&line, "%s %s ", failed ? "not changed:" : "changed:",
                    change_letter(field_text_or(change, "kind", "")));
        append_line(&line, field_text_or(change, "path", "?"), SIZE_MAX);
        line_add(render, item->event, 2, failed ? STYLE_RED : STYLE_YELLOW, line.data, out);
    }
}

static void render_plan(struct render *render, const struct item *item, struct buf *out)
{
    AUTO_BUF struct buf plan;
    buf_init(&plan, RENDER_EVENT_MAX);
    size_t i;
    const json_t *step;
    json_array_foreach(field_at(item->item, "items"), i, step) {
        buf_append_str(&plan, field_is_true(step, "completed") ? "[x] " : "[ ] ");
        append_line(&plan, field_text_or(step, "text", ""), SIZE_MAX);
        buf_append_char(&plan, '\n');
    }
    /* The same plan comes with every stage of the item, and again at its end. */
    if (!plan.len || (render->plan && !strcmp(render->plan, plan.data)))
        return;
    lines_add(render, item->event, STYLE_PLAIN, "plan: ", plan.data, out);
    free(render->plan);
    render->plan = buf_steal(&plan, NULL);
}

static void render_error(struct render *render, const struct item *item, struct buf *out)
{
    if (item->completed)
        lines_add(render, item->event, STYLE_RED, "error: ", field_text(item->item, "message"),
                  out);
}

static const struct {
    const char *type;
    item_fn *render;
} items[] = {
    {"agent_message", render_message},
    {"reasoning", render_reasoning},
    {"command_execution", render_command},
    {"file_change", render_change},
    {"todo_list", render_plan},
    {"error", render_error},
};

void render_item(struct render *render, const json_t *event, struct buf *out)
{
    const char *stage = field_text_or(event, "type", "");
    const struct item item = {
        .event = event,
        .item = field_at(event, "item"),
        .started = !strcmp(stage, "item.started"),
        .completed = !strcmp(stage, "item.completed"),
    };
    const char *type = field_text_or(item.item, "type", "");
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++)
        if (!strcmp(items[i].type, type))
            items[i].render(render, &item, out);
}
