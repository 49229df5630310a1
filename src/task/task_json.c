#include "task/task.h"

#include <string.h>

#include "base/clock.h"
#include "base/json_text.h"
#include "task/exit.h"

/* Collects the first failure, so that the members can be written down one after the other. */
struct writer {
    struct buf *out;
    int status;
};

static void put(struct writer *w, int status)
{
    if (status < 0 && w->status == 0)
        w->status = status;
}

static void key(struct writer *w, const char *name)
{
    char last = w->out->len ? w->out->data[w->out->len - 1] : '{';
    put(w, buf_appendf(w->out, last == '{' ? "\"%s\":" : ",\"%s\":", name));
}

static void text(struct writer *w, const char *name, const char *value)
{
    key(w, name);
    put(w, json_text_cstring(w->out, value));
}

static void number(struct writer *w, const char *name, int64_t value)
{
    key(w, name);
    put(w, buf_appendf(w->out, "%lld", (long long)value));
}

static void raw(struct writer *w, const char *name, const char *json)
{
    key(w, name);
    put(w, buf_append_str(w->out, json));
}

static void when(struct writer *w, const char *name, int64_t real_ms)
{
    char stamp[CLOCK_RFC3339_SIZE];
    if (real_ms)
        clock_rfc3339(real_ms, stamp);
    text(w, name, real_ms ? stamp : NULL);
}

static void count(struct writer *w, const char *name, int64_t value)
{
    if (value >= 0)
        number(w, name, value);
    else
        raw(w, name, "null");
}

static void test_result(struct writer *w, const char *name, const struct test_result *result)
{
    if (!test_result_says(result)) {
        raw(w, name, "null");
        return;
    }
    raw(w, name, "{");
    text(w, "command", result->command);
    if (result->exit_code >= 0)
        number(w, "exit_code", result->exit_code);
    else
        raw(w, "exit_code", "null");
    raw(w, "timed_out", result->status == TEST_TIMED_OUT ? "true" : "false");
    count(w, "passed", result->passed);
    count(w, "failed", result->failed);
    count(w, "skipped", result->skipped);
    put(w, buf_append_char(w->out, '}'));
}

/* A name becomes at most twice as long: it has no control characters. */
static void names(struct writer *w, const char *name, const struct test_change_names *names)
{
    const char *at = NULL, *one;
    size_t len;
    raw(w, name, "[");
    while (test_change_names_next(names, &at, &one, &len)) {
        if (w->out->data[w->out->len - 1] != '[')
            put(w, buf_append_char(w->out, ','));
        put(w, json_text_string(w->out, one, len));
    }
    put(w, buf_append_char(w->out, ']'));
}

static void evidence(struct writer *w, const struct task *task)
{
    const struct test_changes *changes = &task->changes;
    raw(w, "evidence", "{");
    test_result(w, "baseline", &task->baseline);
    test_result(w, "verification", &task->verification);
    raw(w, "compared", changes->compared ? "true" : "false");
    for (enum test_change i = 0; i < TEST_CHANGE_COUNT; i++)
        names(w, test_change_name(i), &changes->of[i]);
    raw(w, "counts", "{");
    for (enum test_change i = 0; i < TEST_CHANGE_COUNT; i++)
        count(w, test_change_name(i), changes->compared ? (int64_t)changes->of[i].total : -1);
    put(w, buf_append_str(w->out, "}}"));
}

static const char *workspace_state(const struct task *task)
{
    if (task_state_running(task->state) && task->prepared)
        return "live";
    if (task->archive_path)
        return "archived";
    if (!task_state_ended(task->state))
        return NULL;                              /* there is none yet */
    return task->prepared ? "frozen" : "removed"; /* what cannot be archived is kept as it is */
}

static void attempts(struct writer *w, const struct task *task)
{
    raw(w, "attempts", "[{");
    number(w, "attempt", task->attempt);
    text(w, "state", task_state_name(task->state));
    text(w, "verdict", verdict_name(task->verdict));
    text(w, "commit", task->commit);
    put(w, buf_append_str(w->out, "}]"));
}

static void result(struct writer *w, const struct task *task)
{
    key(w, "fault");
    put(w, fault_to_json(task->fault.kind, task->fault.step, task->fault.message, w->out));
    text(w, "verdict", verdict_name(task->verdict));
    evidence(w, task);
    key(w, "pull_request");
    put(w, pull_request_to_json(&task->pull_request, w->out));
    raw(w, "workspace", "{");
    text(w, "state", workspace_state(task));
    put(w, buf_append_char(w->out, '}'));
    if (!task->archive_path) {
        raw(w, "archive", "null");
        return;
    }
    raw(w, "archive", "{");
    text(w, "path", task->archive_path);
    number(w, "size_bytes", task->archive_size);
    text(w, "sha256", task->archive_sha256);
    put(w, buf_append_char(w->out, '}'));
}

static void usage(struct writer *w, const struct token_usage *usage)
{
    raw(w, "usage", "{");
    number(w, "input_tokens", usage->input_tokens);
    number(w, "cached_input_tokens", usage->cached_input_tokens);
    number(w, "output_tokens", usage->output_tokens);
    number(w, "reasoning_output_tokens", usage->reasoning_output_tokens);
    put(w, buf_append_char(w->out, '}'));
}

/* "memory,disk" as a list. */
static void limits_hit(struct writer *w, const char *names)
{
    raw(w, "limits_hit", "[");
    while (names && *names) {
        size_t len = strcspn(names, ",");
        put(w, json_text_string(w->out, names, len));
        names += len + (names[len] == ',');
        put(w, buf_append_str(w->out, *names ? "," : ""));
    }
    put(w, buf_append_char(w->out, ']'));
}

int task_to_json(const struct task *task, struct buf *out)
{
    struct writer w = {.out = out};
    put(&w, buf_append_char(out, '{'));
    text(&w, "id", task->id);
    text(&w, "state", task_state_name(task->state));
    text(&w, "waiting_for", task->waiting_for);
    text(&w, "prompt", task->prompt);
    text(&w, "repo", task->repo);
    text(&w, "base", task->base);
    text(&w, "base_commit", task->base_commit);
    key(&w, "base_moved");
    put(&w, base_moved_to_json(&task->base_moved, out));
    text(&w, "branch", task->branch);
    text(&w, "commit", task->commit);
    number(&w, "turn", task->turn);
    number(&w, "attempt", task->attempt);
    attempts(&w, task);
    number(&w, "run", task->run);
    result(&w, task);
    usage(&w, &task->usage);
    text(&w, "model", task->model);
    text(&w, "effort", task->effort);
    text(&w, "forge", task->forge);
    key(&w, "limits");
    put(&w, task_limits_to_json(&task->limits, out));
    limits_hit(&w, task->limits_hit);
    text(&w, "phase", task->phase);
    text(&w, "activity", task->activity);
    number(&w, "round", task->round);
    when(&w, "created_at", task->created_ms);
    when(&w, "started_at", task->started_ms);
    when(&w, "ended_at", task->ended_ms);
    when(&w, "updated_at", task->updated_ms);
    put(&w, buf_append_char(out, '}'));
    return w.status;
}

int pull_request_to_json(const struct pull_request *request, struct buf *out)
{
    if (!request->exists)
        return buf_append_str(out, "null");
    struct writer w = {.out = out};
    put(&w, buf_append_char(out, '{'));
    text(&w, "forge", request->forge);
    text(&w, "url", request->url);
    number(&w, "number", request->number);
    text(&w, "state", request->state);
    raw(&w, "draft", request->draft ? "true" : "false");
    text(&w, "title", request->title);
    text(&w, "body", request->body);
    put(&w, buf_append_char(out, '}'));
    return w.status;
}

int base_moved_to_json(const struct base_moved *moved, struct buf *out)
{
    if (!moved->commit)
        return buf_append_str(out, "null");
    struct writer w = {.out = out};
    put(&w, buf_append_char(out, '{'));
    text(&w, "commit", moved->commit);
    number(&w, "behind", moved->behind);
    raw(&w, "conflicts", moved->conflicts < 0 ? "null" : moved->conflicts ? "true" : "false");
    put(&w, buf_append_char(out, '}'));
    return w.status;
}

int fault_to_json(enum fault_kind kind, const char *step, const char *message, struct buf *out)
{
    if (kind == FAULT_NONE)
        return buf_append_str(out, "null");
    struct writer w = {.out = out};
    put(&w, buf_append_char(out, '{'));
    text(&w, "kind", fault_kind_name(kind));
    text(&w, "step", step);
    text(&w, "message", message);
    put(&w, buf_append_char(out, '}'));
    return w.status;
}
