#include "cli/render.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/fields.h"
#include "cli/format.h"
#include "cli/render_lines.h"
#include "cli/words.h"
#include "task/limits.h"

enum { CHANGE_NAMES = 3 }; /* of tests in a line */

typedef void event_fn(struct render *render, const json_t *event, struct buf *out);

void render_init(struct render *render)
{
    buf_init(&render->partial, RENDER_PARTIAL_MAX);
}

void render_release(struct render *render)
{
    buf_release(&render->partial);
    free(render->plan);
    render->plan = NULL;
}

static void phase_started(struct render *render, const json_t *event, struct buf *out)
{
    const char *phase = field_text_or(event, "phase", "?");
    int64_t round = field_int(event, "round", 1);
    AUTO_BUF struct buf line;
    buf_init(&line, RENDER_EVENT_MAX);
    append_line(&line, phase, SIZE_MAX);
    if (round > 1)
        buf_appendf(&line, ", round %lld", (long long)round);
    line_add(render, event, 0, STYLE_BOLD, line.data, out);
}

/* Output comes in pieces of any size: whole lines are shown, the rest waits for its end. */
static void phase_output(struct render *render, const json_t *event, struct buf *out)
{
    const char *text = field_text_or(event, "text", "");
    if (render->brief)
        return;
    while (*text) {
        size_t len = strcspn(text, "\n");
        bool whole = text[len] == '\n';
        size_t room = render->partial.max - render->partial.len;
        size_t taken = len < room ? len : room;
        buf_append(&render->partial, text, taken);
        text += taken;
        if (taken == len && !whole)
            return;
        if (taken == len) {
            buf_append_char(&render->partial, '\n');
            text++;
        }
        output_add(render, render->partial.len ? render->partial.data : "\n", 0, out);
        buf_clear(&render->partial);
    }
}

static void test_completed(struct render *render, const json_t *event, const json_t *result,
                           struct buf *out)
{
    AUTO_BUF struct buf line;
    buf_init(&line, RENDER_EVENT_MAX);
    append_test_result(&line, result);
    enum style style = test_result_style(result);
    if (render->brief && style == STYLE_RED)
        output_add(render, field_text_or(result, "output_tail", ""), RENDER_BRIEF_LINES, out);
    line_add(render, event, 2, style, line.data, out);
    const char *kind;
    for (size_t i = 0; (kind = test_change_kind(i)); i++) {
        buf_clear(&line);
        if (append_test_change(&line, result, kind, CHANGE_NAMES))
            line_add(render, event, 2, test_change_style(kind), line.data, out);
    }
}

static void commit_completed(struct render *render, const json_t *event, const json_t *result,
                             struct buf *out)
{
    char commit[8];
    if (!field_is_true(result, "changed")) {
        line_add(render, event, 2, STYLE_PLAIN, "nothing to commit", out);
        return;
    }
    short_commit(field_text(result, "commit"), commit);
    int64_t files = field_int(result, "files", 0);
    AUTO_FREE char *line =
        str_format("committed %s: %lld file%s changed, +%lld -%lld", commit, (long long)files,
                   files == 1 ? "" : "s", (long long)field_int(result, "insertions", 0),
                   (long long)field_int(result, "deletions", 0));
    line_add(render, event, 2, STYLE_PLAIN, line, out);
}

/* What a step reported, told apart by its members; see docs/protocols.md. */
static void phase_completed(struct render *render, const json_t *event, struct buf *out)
{
    const json_t *result = field_at(event, "result");
    int64_t status = field_int(event, "status", 0);
    if (json_object_get(result, "timed_out")) {
        test_completed(render, event, result, out);
    } else if (json_object_get(result, "changed")) {
        commit_completed(render, event, result, out);
    } else if (status != 0) {
        AUTO_FREE char *line = str_format("failed (status %lld)", (long long)status);
        line_add(render, event, 2, STYLE_RED, line, out);
    } else if (field_at(result, "commit")) {
        char commit[8];
        short_commit(field_text(result, "commit"), commit);
        AUTO_FREE char *line = str_format("checked out %s", commit);
        line_add(render, event, 2, STYLE_PLAIN, line, out);
    }
}

/* States that are phases too are told by `phase.started`. */
static void task_state(struct render *render, const json_t *event, struct buf *out)
{
    static const char *const shown[] = {"queued",    "delivering", "parked",
                                        "completed", "failed",     "cancelled"};
    const char *state = field_text_or(event, "state", "?");
    bool show = false;
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++)
        show = show || !strcmp(state, shown[i]);
    if (!show)
        return;
    const char *why = field_text(event, "fault.message");
    if (!why)
        why = field_text(event, "reason");
    if (!why)
        why = verdict_text(field_text(event, "verdict"));
    AUTO_BUF struct buf line;
    buf_init(&line, RENDER_EVENT_MAX);
    buf_append_str(&line, state);
    if (why)
        buf_append_str(&line, ": ");
    append_line(&line, why, SIZE_MAX);
    line_add(render, event, 0, state_is_final(state) ? state_style(state) : STYLE_BOLD, line.data,
             out);
}

static void turn_failed(struct render *render, const json_t *event, struct buf *out)
{
    lines_add(render, event, STYLE_RED, "failed: ", field_text(event, "error.message"), out);
}

static void turn_completed(struct render *render, const json_t *event, struct buf *out)
{
    AUTO_BUF struct buf line;
    buf_init(&line, RENDER_EVENT_MAX);
    buf_append_str(&line, "the agent is done: ");
    append_usage(&line, field_at(event, "usage"));
    line_add(render, event, 2, STYLE_DIM, line.data, out);
}

static void passing_error(struct render *render, const json_t *event, struct buf *out)
{
    lines_add(render, event, STYLE_YELLOW, "", field_text(event, "message"), out);
}

static void limit_hit(struct render *render, const json_t *event, struct buf *out)
{
    const char *limit = field_text_or(event, "limit", "?");
    int64_t figure = field_int(event, "figure", 0);
    char amount[FORMAT_SIZE];
    const char *unit = limit_unit(limit);
    if (unit && !strcmp(unit, "bytes"))
        format_bytes(figure, amount);
    else if (unit && !strcmp(unit, "ms"))
        format_duration(figure, amount);
    else
        format_count(figure, amount);
    AUTO_FREE char *line = str_format("limit reached: %s (%s)", limit, amount);
    lines_add(render, event, STYLE_RED, "", line, out);
}

static void network_denied(struct render *render, const json_t *event, struct buf *out)
{
    int64_t count = field_int(event, "count", 1);
    char times[FORMAT_SIZE + sizeof " (… times)"] = "";
    if (count > 1) {
        char number[FORMAT_SIZE];
        format_count(count, number);
        snprintf(times, sizeof times, " (%s times)", number);
    }
    AUTO_FREE char *line =
        str_format("%s%s", field_text_or(event, "message", "a request to the internet"), times);
    lines_add(render, event, STYLE_YELLOW, "refused: ", line, out);
}

/* "npmjs.org 12 kB, …": where it was, and how much came from there. */
static void network_used(struct render *render, const json_t *event, struct buf *out)
{
    AUTO_BUF struct buf line;
    buf_init(&line, RENDER_EVENT_MAX);
    size_t i;
    const json_t *host;
    if (render->brief)
        return;
    json_array_foreach(field_at(event, "hosts"), i, host) {
        char size[FORMAT_SIZE];
        format_bytes(field_int(host, "received_bytes", 0), size);
        buf_appendf(&line, "%s%s %s", i ? ", " : "", field_text_or(host, "host", "others"), size);
    }
    lines_add(render, event, STYLE_DIM, "from the internet: ", line.data, out);
}

static void run_ended(struct render *render, const json_t *event, struct buf *out)
{
    const char *message = field_text(event, "fault.message");
    if (message && !render->brief) /* when that was the task's end, too, the next event says it */
        lines_add(render, event, STYLE_RED, "the run ended: ", message, out);
}

static void delivery_branch(struct render *render, const json_t *event, struct buf *out)
{
    char commit[8];
    short_commit(field_text(event, "commit"), commit);
    AUTO_FREE char *line = str_format("%s at %s", field_text_or(event, "branch", "?"), commit);
    lines_add(render, event, STYLE_PLAIN, "branch ", line, out);
}

static void delivery_base_moved(struct render *render, const json_t *event, struct buf *out)
{
    AUTO_BUF struct buf line;
    buf_init(&line, RENDER_EVENT_MAX);
    append_base_moved(&line, event);
    lines_add(render, event, STYLE_YELLOW, "", line.data, out);
}

static void delivery_pull_request(struct render *render, const json_t *event, struct buf *out)
{
    AUTO_BUF struct buf line;
    buf_init(&line, RENDER_EVENT_MAX);
    append_pull_request(&line, field_at(event, "pull_request"));
    line_add(render, event, 2, STYLE_PLAIN, line.data, out);
}

static void delivery_archive(struct render *render, const json_t *event, struct buf *out)
{
    char size[FORMAT_SIZE];
    format_bytes(field_int(event, "archive.size_bytes", 0), size);
    AUTO_FREE char *line = str_format("%s (%s)", field_text_or(event, "archive.path", "?"), size);
    if (!render->brief)
        lines_add(render, event, STYLE_DIM, "archive ", line, out);
}

static const struct {
    const char *type;
    event_fn *render;
} events[] = {
    {"task.state", task_state},
    {"phase.started", phase_started},
    {"phase.output", phase_output},
    {"phase.completed", phase_completed},
    {"item.started", render_item},
    {"item.updated", render_item},
    {"item.completed", render_item},
    {"turn.completed", turn_completed},
    {"turn.failed", turn_failed},
    {"error", passing_error},
    {"limit.hit", limit_hit},
    {"network.denied", network_denied},
    {"network.used", network_used},
    {"run.ended", run_ended},
    {"delivery.branch", delivery_branch},
    {"delivery.base_moved", delivery_base_moved},
    {"delivery.pull_request", delivery_pull_request},
    {"delivery.archive", delivery_archive},
};

void render_event(struct render *render, const json_t *event, struct buf *out)
{
    const char *type = field_text_or(event, "type", "");
    if (render->phase && strcmp(field_text_or(event, "phase", ""), render->phase) != 0)
        return;
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
        if (!strcmp(events[i].type, type))
            events[i].render(render, event, out);
}
