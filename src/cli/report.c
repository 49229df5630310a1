#include "cli/report.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/fields.h"
#include "cli/format.h"
#include "cli/text.h"
#include "cli/words.h"
#include "task/limits.h"

enum { LABEL_WIDTH = 16, PROMPT_WIDTH_MIN = 20, TESTS_SHOWN = 10 };

struct report {
    struct buf *out;
    const json_t *task;
    int64_t now_ms;
    size_t width;
    bool color;
};

int64_t task_elapsed_ms(const json_t *task, int64_t now_ms)
{
    int64_t from = field_time(task, "created_at"), to = field_time(task, "ended_at");
    return from < 0 ? -1 : (to < 0 ? now_ms : to) - from;
}

int task_exit_status(const json_t *task)
{
    bool completed = !strcmp(field_text_or(task, "state", ""), "completed");
    return completed && strcmp(field_text_or(task, "verdict", ""), "failed") != 0 ? 0 : 1;
}

static void label(const struct report *report, const char *name)
{
    buf_appendf(report->out, "  %-*s", LABEL_WIDTH - 2, name);
}

/* A line with TEXT from outside, cut to WIDTH columns; nothing when there is none. */
static void line_cut(const struct report *report, const char *name, const char *text, size_t width)
{
    if (!text)
        return;
    label(report, name);
    append_line(report->out, text, width);
    buf_append_char(report->out, '\n');
}

static void line(const struct report *report, const char *name, const char *text)
{
    line_cut(report, name, text, SIZE_MAX);
}

/* Is "nothing had to be done" what came out? */
static bool is_without_change(const json_t *task)
{
    return !strcmp(field_text_or(task, "state", ""), "completed") && !field_text(task, "commit");
}

/* "task-abc123 completed: tests passed" */
static void headline(const struct report *report)
{
    const json_t *task = report->task;
    const char *state = field_text_or(task, "state", "?");
    const char *verdict = field_text(task, "verdict");
    const char *waiting = field_text(task, "waiting_for");
    append_line(report->out, field_text_or(task, "id", "?"), SIZE_MAX);
    buf_append_char(report->out, ' ');
    style_begin(report->out, report->color, state_style(state));
    append_line(report->out, state, SIZE_MAX);
    style_end(report->out, report->color, state_style(state));
    if (waiting) {
        buf_append_str(report->out, ": waits for ");
        append_line(report->out, waiting, SIZE_MAX);
    } else if (is_without_change(task)) {
        buf_append_str(report->out, ": no change was needed");
    } else if (verdict && !strcmp(state, "completed")) {
        buf_append_str(report->out, ": ");
        AUTO_FREE char *text = text_clean(verdict_text(verdict));
        style_append(report->out, report->color, verdict_style(verdict), text);
    }
    buf_append_char(report->out, '\n');
}

static void fault(const struct report *report)
{
    const char *message = field_text(report->task, "fault.message");
    if (!message)
        return;
    AUTO_FREE char *text = str_format("%s (fault: %s, while %s)", message,
                                      field_text_or(report->task, "fault.kind", "?"),
                                      field_text_or(report->task, "fault.step", "?"));
    AUTO_FREE char *clean = text_clean(text);
    label(report, "why");
    style_append(report->out, report->color, STYLE_RED, clean);
    buf_append_char(report->out, '\n');
}

static void what(const struct report *report)
{
    const json_t *task = report->task;
    char commit[8];
    bool wide = report->width > LABEL_WIDTH + PROMPT_WIDTH_MIN;
    line_cut(report, "prompt", field_text(task, "prompt"),
             wide ? report->width - LABEL_WIDTH : PROMPT_WIDTH_MIN);
    short_commit(field_text(task, "base_commit"), commit);
    const char *base = field_text_or(task, "base", "HEAD");
    bool is_commit = !strcmp(base, field_text_or(task, "base_commit", ""));
    AUTO_FREE char *repo = str_format("%s (%s%s%s)", field_text_or(task, "repo", "?"),
                                      is_commit ? "" : base, is_commit ? "" : " at ", commit);
    line(report, "repository", repo);
}

static void now(const struct report *report)
{
    const json_t *task = report->task;
    const char *phase = field_text(task, "phase");
    if (state_is_final(field_text_or(task, "state", "")) || !phase)
        return;
    int64_t round = field_int(task, "round", 1);
    AUTO_FREE char *text =
        round > 1 ? str_format("%s, round %lld", phase, (long long)round) : str_dup(phase);
    line(report, "phase", text);
    line(report, "runs", field_text(task, "activity"));
}

static void test_line(const struct report *report, const char *name, const char *path)
{
    const json_t *result = field_at(report->task, path);
    if (!result)
        return;
    AUTO_BUF struct buf text;
    buf_init(&text, 65536);
    append_test_result(&text, result);
    label(report, name);
    style_append(report->out, report->color, test_result_style(result), text.data);
    buf_append_char(report->out, '\n');
}

/* Single tests by name, a line each, when the server could read results per test. */
static void test_names(const struct report *report, const char *kind)
{
    const json_t *evidence = field_at(report->task, "evidence");
    const json_t *names = json_object_get(evidence, kind), *test;
    int64_t total =
        field_int(json_object_get(evidence, "counts"), kind, (int64_t)json_array_size(names));
    char name[32] = "";
    for (size_t c = 0; kind[c] && c < sizeof name - 1; c++)
        name[c] = kind[c] == '_' ? ' ' : kind[c];
    size_t i;
    json_array_foreach(names, i, test) {
        if (i == TESTS_SHOWN)
            break;
        line(report, i ? "" : name, json_string_value(test));
    }
    if (total > (int64_t)i) {
        AUTO_FREE char *more =
            str_format(i ? "and %lld more" : "%lld", (long long)(total - (int64_t)i));
        line(report, i ? "" : name, more);
    }
}

static void evidence(const struct report *report)
{
    test_line(report, "baseline", "evidence.baseline");
    test_line(report, "verification", "evidence.verification");
    if (!strcmp(field_text_or(report->task, "verdict", ""), "no_tests"))
        line(report, "hint", "name the tests' command with --test, or add tests");
    const char *kind;
    for (size_t i = 0; (kind = test_change_kind(i)); i++)
        test_names(report, kind);
}

static void outcome(const struct report *report)
{
    const json_t *task = report->task;
    const char *branch = field_text(task, "branch"), *commit = field_text(task, "commit");
    char digits[8];
    short_commit(commit, digits);
    if (branch && commit) {
        AUTO_FREE char *text = str_format("%s at %s", branch, digits);
        line(report, "branch", text);
    } else {
        line(report, "branch", branch);
    }
    if (field_at(task, "base_moved")) {
        AUTO_BUF struct buf moved;
        buf_init(&moved, 8192);
        append_base_moved(&moved, task);
        line(report, "base", moved.data);
    }
    if (!field_at(task, "pull_request"))
        return;
    buf_append_str(report->out, "  ");
    append_pull_request(report->out, field_at(task, "pull_request"));
    buf_append_char(report->out, '\n');
}

/* "memory 512 MiB, cpus 1 cores": what it was limited to. */
static void limits(const struct report *report)
{
    AUTO_BUF struct buf text;
    buf_init(&text, 512);
    const json_t *limits = field_at(report->task, "limits"), *hit, *name;
    for (enum task_limit i = 0; i < TASK_LIMIT_COUNT; i++) {
        int64_t value = field_int(limits, task_limit_member(i), 0);
        if (value <= 0)
            continue;
        buf_append_str(&text, text.len ? ", " : "");
        buf_appendf(&text, "%s ", task_limit_name(i));
        task_limit_append(&text, i, value);
    }
    line(report, "limits", text.len ? text.data : NULL);
    buf_clear(&text);
    size_t i;
    hit = field_at(report->task, "limits_hit");
    json_array_foreach(hit, i, name)
        buf_appendf(&text, "%s%s", i ? ", " : "",
                    json_is_string(name) ? json_string_value(name) : "?");
    line(report, "limits hit", text.len ? text.data : NULL);
}

static void figures(const struct report *report)
{
    char elapsed[FORMAT_SIZE];
    AUTO_BUF struct buf usage;
    buf_init(&usage, 256);
    append_usage(&usage, field_at(report->task, "usage"));
    line(report, "tokens", usage.data);
    int64_t ms = task_elapsed_ms(report->task, report->now_ms);
    if (ms < 0)
        return;
    format_duration(ms, elapsed);
    line(report, "time", elapsed);
}

static void next(const struct report *report)
{
    const char *id = field_text_or(report->task, "id", "?");
    bool ended = state_is_final(field_text_or(report->task, "state", ""));
    if (!ended) {
        AUTO_FREE char *follow = str_format("codex logs -f %s", id);
        line(report, "follow it", follow);
    } else if (field_text(report->task, "commit")) {
        AUTO_FREE char *diff = str_format("codex diff %s", id);
        AUTO_FREE char *apply = str_format("codex apply %s", id);
        line(report, "see it", diff);
        line(report, "take it", apply);
    } else {
        AUTO_FREE char *logs = str_format("codex logs %s", id);
        line(report, "see why", logs);
    }
}

void report_append(struct buf *out, const json_t *task, int64_t now_ms, size_t width, bool color)
{
    const struct report report = {
        .out = out, .task = task, .now_ms = now_ms, .width = width, .color = color};
    headline(&report);
    fault(&report);
    what(&report);
    now(&report);
    evidence(&report);
    outcome(&report);
    limits(&report);
    figures(&report);
    next(&report);
}
