#include "cli/words.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/fields.h"
#include "cli/format.h"
#include "cli/text.h"
#include "task/state.h"

static const enum style state_styles[TASK_STATE_COUNT] = {
    [TASK_QUEUED] = STYLE_DIM,       [TASK_PREPARING] = STYLE_CYAN,  [TASK_BASELINE] = STYLE_CYAN,
    [TASK_WORKING] = STYLE_CYAN,     [TASK_VERIFYING] = STYLE_CYAN,  [TASK_DELIVERING] = STYLE_CYAN,
    [TASK_PARKED] = STYLE_YELLOW,    [TASK_COMPLETED] = STYLE_GREEN, [TASK_FAILED] = STYLE_RED,
    [TASK_CANCELLED] = STYLE_YELLOW,
};

static const struct {
    const char *name, *text;
    enum style style;
} verdicts[] = {
    {"passed", "tests passed", STYLE_GREEN},
    {"failed", "tests failed", STYLE_RED},
    {"unproven", "unproven: the tests fail, as they did before the work", STYLE_YELLOW},
    {"no_tests", "no tests found", STYLE_YELLOW},
    {"none", "not verified", STYLE_YELLOW},
};

bool state_is_final(const char *name)
{
    enum task_state state;
    return task_state_parse(name, &state) == 0 && task_state_ended(state);
}

enum style state_style(const char *name)
{
    enum task_state state;
    return task_state_parse(name, &state) == 0 ? state_styles[state] : STYLE_PLAIN;
}

const char *verdict_text(const char *verdict)
{
    for (size_t i = 0; verdict && i < sizeof verdicts / sizeof verdicts[0]; i++)
        if (!strcmp(verdicts[i].name, verdict))
            return verdicts[i].text;
    return verdict;
}

enum style verdict_style(const char *verdict)
{
    for (size_t i = 0; verdict && i < sizeof verdicts / sizeof verdicts[0]; i++)
        if (!strcmp(verdicts[i].name, verdict))
            return verdicts[i].style;
    return STYLE_PLAIN;
}

static void append_counts(struct buf *out, const json_t *result)
{
    int64_t passed = field_int(result, "passed", -1), failed = field_int(result, "failed", -1);
    int64_t skipped = field_int(result, "skipped", 0);
    if (passed < 0 || failed < 0)
        return;
    buf_appendf(out, ", %lld passed, %lld failed", (long long)passed, (long long)failed);
    if (skipped > 0)
        buf_appendf(out, ", %lld skipped", (long long)skipped);
}

bool append_test_change(struct buf *out, const json_t *evidence, const char *kind, size_t max)
{
    const json_t *names = json_object_get(evidence, kind), *name;
    size_t i, shown = 0;
    int64_t total =
        field_int(json_object_get(evidence, "counts"), kind, (int64_t)json_array_size(names));
    if (total <= 0)
        return false;
    for (const char *p = kind; *p; p++)
        buf_append_char(out, *p == '_' ? ' ' : *p);
    buf_append_str(out, ":");
    json_array_foreach(names, i, name) {
        if (i == max)
            break;
        buf_append_str(out, i ? ", " : " ");
        append_line(out, json_string_value(name) ? json_string_value(name) : "?", SIZE_MAX);
        shown++;
    }
    if ((int64_t)shown < total)
        buf_appendf(out, "%s%lld more", shown ? " and " : " ", (long long)total - (long long)shown);
    return true;
}

static const char *const change_kinds[] = {"newly_broken",  "flaky",       "tests_removed",
                                           "newly_skipped", "newly_fixed", "still_broken",
                                           "tests_added"};

const char *test_change_kind(size_t n)
{
    return n < sizeof change_kinds / sizeof change_kinds[0] ? change_kinds[n] : NULL;
}

enum style test_change_style(const char *kind)
{
    return !strcmp(kind, "newly_broken")  ? STYLE_RED
           : !strcmp(kind, "newly_fixed") ? STYLE_GREEN
           : !strcmp(kind, "tests_added") ? STYLE_PLAIN
                                          : STYLE_YELLOW;
}

void append_test_result(struct buf *out, const json_t *result)
{
    const char *command = field_text(result, "command");
    if (!command) {
        buf_append_str(out, "no tests found");
        return;
    }
    append_line(out, command, SIZE_MAX);
    int64_t signal = field_int(result, "signal", 0);
    if (field_is_true(result, "timed_out"))
        buf_append_str(out, ": timed out");
    else if (signal)
        buf_appendf(out, ": ended by signal %lld", (long long)signal);
    else if (field_at(result, "exit_code"))
        buf_appendf(out, ": exit %lld", (long long)field_int(result, "exit_code", -1));
    int64_t duration_ms = field_int(result, "duration_ms", -1);
    if (duration_ms >= 0) {
        char duration[FORMAT_SIZE];
        format_duration(duration_ms, duration);
        buf_appendf(out, " in %s", duration);
    }
    append_counts(out, result);
}

enum style test_result_style(const json_t *result)
{
    if (!field_text(result, "command"))
        return STYLE_YELLOW;
    return field_int(result, "exit_code", -1) == 0 && !field_is_true(result, "timed_out")
               ? STYLE_GREEN
               : STYLE_RED;
}

void append_usage(struct buf *out, const json_t *usage)
{
    char in[FORMAT_SIZE], cached[FORMAT_SIZE], written[FORMAT_SIZE];
    int64_t cached_tokens = field_int(usage, "cached_input_tokens", 0);
    format_count(field_int(usage, "input_tokens", 0), in);
    format_count(cached_tokens, cached);
    format_count(field_int(usage, "output_tokens", 0), written);
    buf_appendf(out, "%s in", in);
    if (cached_tokens > 0)
        buf_appendf(out, " (%s cached)", cached);
    buf_appendf(out, ", %s out", written);
}

void append_pull_request(struct buf *out, const json_t *pull_request)
{
    buf_append_str(out, "pull request");
    if (field_at(pull_request, "number"))
        buf_appendf(out, " #%lld", (long long)field_int(pull_request, "number", 0));
    buf_append_str(out, ": ");
    append_line(out, field_text_or(pull_request, "title", "(no title)"), SIZE_MAX);
    buf_append_str(out, field_is_true(pull_request, "draft") ? " (draft, " : " (");
    append_line(out, field_text_or(pull_request, "state", "?"), SIZE_MAX);
    buf_append_str(out, ")");
    if (field_text(pull_request, "url")) {
        buf_append_char(out, ' ');
        append_line(out, field_text(pull_request, "url"), SIZE_MAX);
    }
}

void append_base_moved(struct buf *out, const json_t *from)
{
    int64_t behind = field_int(from, "base_moved.behind", 0);
    const json_t *conflicts = field_at(from, "base_moved.conflicts");
    buf_appendf(out, "%s has got %lld commit%s meanwhile; ", field_text_or(from, "base", "?"),
                (long long)behind, behind == 1 ? "" : "s");
    buf_append_str(out, !conflicts                ? "whether they conflict is not known"
                        : json_is_true(conflicts) ? "they conflict with the work"
                                                  : "they do not conflict with the work");
}

void short_commit(const char *commit, char *out)
{
    size_t digits = commit ? strspn(commit, "0123456789abcdef") : 0;
    bool whole = digits >= 7 && !commit[digits]; /* a sandbox may have written it */
    snprintf(out, 8, "%s", whole ? commit : "?");
}

void append_line(struct buf *out, const char *text, size_t columns)
{
    AUTO_FREE char *clean = text_clean(text);
    text_append_cut(out, clean, columns);
}
