#include "agent/calls.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"

enum { PARALLEL_MAX = 16 }; /* calls of one answer that run at the same time */

enum run_state { RUN_WAITING, RUN_RUNNING, RUN_ENDED };

/* One open call. */
struct run {
    struct tool_call call; /* first: the tool knows only this */
    struct calls *calls;
    size_t index; /* in the conversation */
    const struct item *item;
    const struct tool *tool; /* NULL: unknown */
    void *group_state;
    enum run_state state;
    int64_t started_ms;
};

struct calls {
    struct loop *loop;
    struct events *events;
    struct conversation *conversation;
    const struct tool_group *groups;
    size_t groups_count;

    struct run *runs;
    size_t runs_count;
    size_t next; /* the first that has not been begun */
    size_t running, ended;
    bool pumping, stopped;
    struct loop_source *done_timer;
    calls_done_fn *fn;
    void *arg;

    int status;
    struct err err;
    struct repeat repeat;
    enum repeat_verdict verdict;
    bool any_succeeded;
};

struct calls *calls_new(struct loop *loop, struct events *events, struct conversation *conversation,
                        const struct tool_group *groups, size_t groups_count)
{
    struct calls *calls = calloc(1, sizeof *calls);
    if (!calls)
        abort();
    *calls = (struct calls){.loop = loop,
                            .events = events,
                            .conversation = conversation,
                            .groups = groups,
                            .groups_count = groups_count};
    return calls;
}

static void release_runs(struct calls *calls)
{
    for (size_t i = 0; i < calls->runs_count; i++)
        json_decref(calls->runs[i].call.arguments);
    free(calls->runs);
    calls->runs = NULL;
    calls->runs_count = 0;
}

void calls_free(struct calls *calls)
{
    if (!calls)
        return;
    loop_remove(calls->done_timer);
    release_runs(calls);
    free(calls);
}

bool calls_any_succeeded(const struct calls *calls)
{
    return calls->any_succeeded;
}

void calls_stop(struct calls *calls)
{
    calls->stopped = true;
    loop_remove(calls->done_timer);
    calls->done_timer = NULL;
}

static void find_tool(struct run *run)
{
    const struct calls *calls = run->calls;
    for (size_t g = 0; g < calls->groups_count; g++)
        for (size_t i = 0; i < calls->groups[g].count; i++)
            if (!strcmp(calls->groups[g].tools[i].name, run->item->name)) {
                run->tool = &calls->groups[g].tools[i];
                run->group_state = calls->groups[g].state;
                return;
            }
}

/* ---- what the model wrote, made what the tool takes. Returns 0, or fills ERR for the model. */

static int refuse_unknown(const struct run *run, struct err *err)
{
    struct buf names;
    buf_init(&names, 512);
    const struct calls *calls = run->calls;
    for (size_t g = 0; g < calls->groups_count; g++)
        for (size_t i = 0; i < calls->groups[g].count; i++)
            buf_appendf(&names, "%s%s", names.len ? ", " : "", calls->groups[g].tools[i].name);
    err_set(err, ERR_USAGE, "there is no tool '%.64s'; the tools are: %s", run->item->name,
            names.data);
    buf_release(&names);
    return ERR_USAGE;
}

static int parse_object(const struct run *run, json_t **object, struct err *err)
{
    json_error_t error;
    *object =
        json_loadb(run->item->arguments, run->item->arguments_len, JSON_REJECT_DUPLICATES, &error);
    if (!*object)
        return err_set(err, ERR_USAGE,
                       "the arguments are not valid JSON (line %d, column %d: %s); the call was "
                       "not run",
                       error.line, error.column, error.text);
    if (!json_is_object(*object))
        return err_set(err, ERR_USAGE, "the arguments must be a JSON object; the call was not run");
    return 0;
}

/* The function form of a freeform tool: an object with its one argument. */
static int unwrap_input(struct run *run, struct err *err)
{
    int status = parse_object(run, &run->call.arguments, err);
    if (status < 0)
        return status;
    const json_t *input = json_object_get(run->call.arguments, run->tool->argument);
    if (!json_is_string(input))
        return err_set(err, ERR_USAGE, "'%s' must be a string; the call was not run",
                       run->tool->argument);
    run->call.input = json_string_value(input);
    run->call.input_len = json_string_length(input);
    return 0;
}

static int prepare_custom(struct run *run, struct err *err)
{
    run->call.input = run->item->arguments;
    run->call.input_len = run->item->arguments_len;
    int status = run->item->custom ? 0 : unwrap_input(run, err);
    if (status == 0 && memchr(run->call.input, '\0', run->call.input_len))
        return err_set(err, ERR_USAGE, "the input holds a NUL byte; the call was not run");
    return status;
}

static int prepare(struct run *run, struct err *err)
{
    if (!run->tool)
        return refuse_unknown(run, err);
    if (run->item->cut)
        return err_set(err, ERR_USAGE, "the call is not whole and was not run; make it again");
    if (run->tool->kind == TOOL_CUSTOM)
        return prepare_custom(run, err);
    if (run->item->custom)
        return err_set(err, ERR_USAGE, "'%s' is a function: it takes a JSON object of arguments",
                       run->tool->name);
    return parse_object(run, &run->call.arguments, err);
}

/* ---- running them */

static void pump(struct calls *calls);

static void on_done(void *arg)
{
    struct calls *calls = arg;
    calls->done_timer = NULL;
    if (!calls->running) /* else it ends early, for an error, and the tools still hold some */
        release_runs(calls);
    calls->fn(calls->arg, calls->status, &calls->err, calls->verdict, calls->repeat.times);
}

/* By the loop: whoever ended the last call is still at it. */
static void finish_soon(struct calls *calls)
{
    if (!calls->stopped && !calls->done_timer)
        calls->done_timer = loop_add_timer(calls->loop, 0, on_done, calls);
}

static void keep_status(struct calls *calls, int status, const struct err *err)
{
    if (status < 0 && calls->status == 0) {
        calls->status = status;
        calls->err = *err;
    }
}

/* RUN has ended; its text is as the conversation shall have it. IMAGE may be NULL. */
static void end_run(struct run *run, const char *text, size_t len, const struct image *image)
{
    struct calls *calls = run->calls;
    if (run->state == RUN_ENDED)
        abort(); /* a tool has finished a call twice */
    calls->running -= run->state == RUN_RUNNING;
    calls->ended++;
    enum repeat_verdict verdict = repeat_note(
        &calls->repeat, run->item->name,
        (struct json_span){run->item->arguments, run->item->arguments_len},
        (struct json_span){text, len}, run->started_ms ? clock_mono_ms() - run->started_ms : 0);
    /* Nobody is stopped who was not told: an answer with many calls may pass both limits. */
    if (verdict > calls->verdict && calls->verdict != REPEAT_TELL)
        calls->verdict = verdict;
    run->state = RUN_ENDED;

    /* The last output lets go of the items: nothing of `item` may be touched after this. */
    struct err err;
    keep_status(calls,
                conversation_call_output(calls->conversation, run->index, text, len, image, &err),
                &err);
    if (calls->ended == calls->runs_count)
        finish_soon(calls);
}

static void finish(struct tool_call *call, bool ok, const char *text, size_t len,
                   const struct image *image)
{
    struct run *run = (struct run *)call;
    struct calls *calls = run->calls;
    calls->any_succeeded |= ok;
    end_run(run, text, len, image);
    pump(calls);
}

void tool_call_finish(struct tool_call *call, bool ok, const char *text, size_t len)
{
    finish(call, ok, text, len, NULL);
}

void tool_call_finish_image(struct tool_call *call, const char *text, const struct image *image)
{
    finish(call, true, text, strlen(text), image);
}

void tool_call_finishf(struct tool_call *call, bool ok, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    AUTO_FREE char *text = NULL;
    if (vasprintf(&text, format, args) < 0)
        abort();
    va_end(args);
    tool_call_finish(call, ok, text, strlen(text));
}

static void begin(struct run *run)
{
    struct calls *calls = run->calls;
    struct err err;
    if (prepare(run, &err) < 0) {
        AUTO_FREE char *text = str_format("%.64s: %s", run->item->name, err.message);
        events_item_error(calls->events, text);
        end_run(run, text, strlen(text), NULL);
        return;
    }
    int status = conversation_call_started(calls->conversation, run->index, &err);
    if (status < 0) { /* not in the journal: not run, and nothing after it */
        keep_status(calls, status, &err);
        finish_soon(calls);
        calls->stopped = true;
        return;
    }
    run->state = RUN_RUNNING;
    run->started_ms = clock_mono_ms();
    calls->running++;
    run->tool->start(run->group_state, &run->call);
}

/* Whether the next may begin beside those that run. */
static bool may_begin(const struct calls *calls)
{
    const struct run *next = &calls->runs[calls->next];
    if (next->tool && next->tool->exclusive)
        return !calls->running;
    for (size_t i = 0; i < calls->next; i++)
        if (calls->runs[i].state == RUN_RUNNING && calls->runs[i].tool->exclusive)
            return false;
    return calls->running < PARALLEL_MAX;
}

static void pump(struct calls *calls)
{
    if (calls->pumping) /* a call has ended within its `start` */
        return;
    calls->pumping = true;
    while (!calls->stopped && calls->next < calls->runs_count && may_begin(calls))
        begin(&calls->runs[calls->next++]);
    calls->pumping = false;
}

void calls_run(struct calls *calls, calls_done_fn *fn, void *arg)
{
    calls->fn = fn;
    calls->arg = arg;
    calls->verdict = REPEAT_NONE;
    calls->next = calls->running = calls->ended = 0;
    calls->runs_count = conversation_calls(calls->conversation);
    calls->runs = calloc(calls->runs_count, sizeof *calls->runs);
    if (!calls->runs)
        abort();
    for (size_t i = 0; i < calls->runs_count; i++) {
        const struct item *item = conversation_call(calls->conversation, i);
        calls->runs[i] = (struct run){.call = {.call_id = item->call_id, .name = item->name},
                                      .calls = calls,
                                      .index = i,
                                      .item = item};
        find_tool(&calls->runs[i]);
    }
    pump(calls);
}
