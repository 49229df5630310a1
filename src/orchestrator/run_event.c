#include "orchestrator/run_event.h"

#include <string.h>

#include "base/json_text.h"
#include "base/str.h"

enum {
    MEMBERS_MAX = 6 << 20,
    TYPE_MAX = 64,
    TOKENS_MAX = 1 << 30, /* in one response: keeps sums from overflowing */
};

static const char *text(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* A number of MIN to MAX; FALLBACK for anything else. */
static int64_t number(const json_t *object, const char *name, int64_t min, int64_t max,
                      int64_t fallback)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_integer(value))
        return fallback;
    int64_t n = json_integer_value(value);
    return n < min || n > max ? fallback : n;
}

/* What codexd puts before every event itself; the file's own words for it do not count. */
static bool is_envelope(const char *name)
{
    static const char *const names[] = {"seq",     "ts",  "task",  "turn",
                                        "attempt", "run", "phase", "type"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

static int append_bytes(const char *bytes, size_t len, void *out)
{
    return buf_append(out, bytes, len) < 0 ? -1 : 0;
}

static int collect_members(struct run_event *event, struct err *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(event->root, name, value) {
        if (is_envelope(name))
            continue;
        if (buf_append_char(&event->members, ',') < 0 ||
            json_text_cstring(&event->members, name) < 0 ||
            buf_append_char(&event->members, ':') < 0 ||
            json_dump_callback(value, append_bytes, &event->members,
                               JSON_COMPACT | JSON_ENCODE_ANY) < 0)
            return err_set(err, ERR_LIMIT, "an event is too large");
    }
    return 0;
}

static void read_usage(struct run_event *event)
{
    const json_t *usage = json_object_get(event->root, "usage");
    event->usage = (struct token_usage){
        number(usage, "input_tokens", 0, TOKENS_MAX, 0),
        number(usage, "cached_input_tokens", 0, TOKENS_MAX, 0),
        number(usage, "output_tokens", 0, TOKENS_MAX, 0),
        number(usage, "reasoning_output_tokens", 0, TOKENS_MAX, 0),
    };
}

static void read_end(struct run_event *event)
{
    const json_t *root = event->root;
    event->outcome = run_outcome_parse(text(root, "outcome"));
    event->changed = json_is_true(json_object_get(root, "changed"));
    const json_t *fault = json_object_get(root, "fault");
    event->fault = fault_kind_parse(text(fault, "kind"));
    event->fault_step = text(fault, "step");
    event->fault_message = text(fault, "message");
    const json_t *archive = json_object_get(root, "archive");
    event->archive_size = number(archive, "size_bytes", 0, INT64_MAX, -1);
    event->archive_sha256 = text(archive, "sha256");
    event->has_archive = event->archive_size >= 0 && event->archive_sha256;
}

static void read_phase(struct run_event *event)
{
    const json_t *result = json_object_get(event->root, "result");
    event->round = number(event->root, "round", 0, 1000, 0);
    event->status = number(event->root, "status", -1000, 1000, -1);
    event->duration_ms = number(event->root, "duration_ms", 0, INT64_MAX, 0);
    event->result = json_is_object(result) ? result : NULL;
}

static void read_kind(struct run_event *event)
{
    const json_t *item = json_object_get(event->root, "item");
    const char *item_type = text(item, "type");
    bool command = item_type && !strcmp(item_type, "command_execution");
    event->command = command ? text(item, "command") : NULL;
    event->limit = text(event->root, "limit");
    if (!strcmp(event->type, "phase.started"))
        event->kind = RUN_EVENT_PHASE_STARTED;
    else if (!strcmp(event->type, "phase.completed"))
        event->kind = RUN_EVENT_PHASE_COMPLETED;
    else if (!strcmp(event->type, "model.usage"))
        event->kind = RUN_EVENT_USAGE;
    else if (!strcmp(event->type, "limit.hit") && event->limit && limit_unit(event->limit))
        event->kind = RUN_EVENT_LIMIT_HIT;
    else if (!strcmp(event->type, "run.ended"))
        event->kind = RUN_EVENT_ENDED;
    else if (event->command && !strcmp(event->type, "item.started"))
        event->kind = RUN_EVENT_COMMAND_STARTED;
    else if (event->command && !strcmp(event->type, "item.completed"))
        event->kind = RUN_EVENT_COMMAND_ENDED;
    read_phase(event);
    read_usage(event);
    read_end(event);
}

/* codexd's own types are for codexd alone to write. */
static bool type_allowed(const char *type)
{
    return strlen(type) <= TYPE_MAX &&
           strspn(type, "abcdefghijklmnopqrstuvwxyz._") == strlen(type) && *type &&
           !str_starts_with(type, "task.") && !str_starts_with(type, "delivery.");
}

int run_event_parse(const char *line, size_t len, struct run_event *out, struct err *err)
{
    *out = (struct run_event){.phase = PHASE_COUNT, .outcome = RUN_OUTCOME_COUNT};
    buf_init(&out->members, MEMBERS_MAX);
    json_error_t error;
    /* With a name twice, two readers could see two different events. */
    out->root = json_loadb(line, len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(out->root)) {
        run_event_release(out);
        return err_set(err, ERR_PROTOCOL, "not a JSON object: %s", error.text);
    }
    out->type = text(out->root, "type");
    out->ts = text(out->root, "ts");
    if (out->ts && strlen(out->ts) > 40)
        out->ts = NULL;
    out->phase = phase_parse(text(out->root, "phase"));
    if (!out->type || !type_allowed(out->type)) {
        run_event_release(out);
        return err_set(err, ERR_PROTOCOL, "not an event of a run");
    }
    read_kind(out);
    int status = collect_members(out, err);
    if (status < 0)
        run_event_release(out);
    return status;
}

void run_event_release(struct run_event *event)
{
    json_decref(event->root);
    buf_release(&event->members);
    event->root = NULL;
}

const char *run_event_result_text(const struct run_event *event, const char *name)
{
    return text(event->result, name);
}

void run_event_test_result(const struct run_event *event, struct test_result *out)
{
    *out = (struct test_result){
        .known = true,
        .status = (int)event->status,
        .command = str_dup(text(event->result, "command")),
        .found = str_dup(text(event->result, "found")),
        .exit_code = number(event->result, "exit_code", 0, 255, -1),
        .duration_ms = number(event->result, "duration_ms", 0, INT64_MAX, event->duration_ms),
        .output_tail = str_dup(text(event->result, "output_tail")),
        .passed = -1,
        .failed = -1,
        .skipped = -1,
    };
}
