#include "wire.h"

#include "base/cleanup.h"

static void never_started(void *state, struct tool_call *call)
{
    fail();
}

static const struct tool tools[] = {
    {.name = "exec_command",
     .kind = TOOL_FUNCTION,
     .description = "Runs \"a\" command.",
     .schema = "{\"type\":\"object\"}",
     .start = never_started},
    {.name = "apply_patch",
     .kind = TOOL_CUSTOM,
     .description = "Patches.",
     .schema = "start: \"x\"\n",
     .argument = "input",
     .start = never_started},
};
static const struct tool_group group = {.tools = tools, .count = 2};

json_t *request(const char *model, const char *effort, unsigned left_out)
{
    const struct request_settings settings = {.model = model,
                                              .effort = effort,
                                              .cache_key = "task-abc123",
                                              .instructions = "Work.\n",
                                              .groups = &group,
                                              .groups_count = 1};
    struct buf head, tail;
    buf_init(&head, 1 << 20);
    buf_init(&tail, 1 << 20);
    wire->frame(&settings, left_out, &head, &tail);
    assert_int_equal(wire->user_messages(&head, &(struct message){"hi\xff", 3}, 1), 0);
    buf_append(&head, tail.data, tail.len);
    json_t *json = json_loadb(head.data, head.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    buf_release(&head);
    buf_release(&tail);
    return json;
}

unsigned refused_again(const char *model, unsigned left_out, const char *error)
{
    struct failure failure;
    char body[1024];
    int len = snprintf(body, sizeof body, "{\"error\":%s}", error);
    failure_from_http(&failure, 400, -1, body, (size_t)len);
    return wire->optional(model, left_out, &failure);
}

unsigned refused(const char *model, const char *error)
{
    return refused_again(model, 0, error);
}

const char *string_at(const json_t *json, const char *name)
{
    return json_string_value(json_object_get(json, name));
}

struct stream new_stream(void)
{
    struct stream stream;
    buf_init(&stream.text, 1 << 20);
    return stream;
}

void add_event(struct stream *stream, const char *data)
{
    buf_appendf(&stream->text, "data: %s\n\n", data);
}

void add_named(struct stream *stream, const char *name, const char *data)
{
    buf_appendf(&stream->text, "event: %s\r\ndata: %s\r\n\r\n", name, data);
}

struct answer *read_stream(const struct stream *stream, size_t first, size_t step)
{
    struct answer *answer = wire->answer_new();
    for (size_t at = 0, n = first; at < stream->text.len; at += n, n = step) {
        if (n > stream->text.len - at)
            n = stream->text.len - at;
        if (n) {
            /* Exactly the piece, in memory of its own: the sanitizers see every byte too many. */
            AUTO_FREE char *piece = malloc(n);
            memcpy(piece, stream->text.data + at, n);
            wire->answer_feed(answer, piece, n);
        }
    }
    wire->answer_end(answer);
    return answer;
}

struct answer *read_and_release(struct stream *stream)
{
    struct answer *answer = read_stream(stream, stream->text.len, 1);
    buf_release(&stream->text);
    return answer;
}

struct answer *read_text(const char *text)
{
    struct stream stream = new_stream();
    buf_append_str(&stream.text, text);
    return read_and_release(&stream);
}

void read_at_every_split(const struct stream *stream, void (*check)(const struct answer *answer))
{
    for (size_t first = 0; first < stream->text.len; first++) {
        struct answer *answer = read_stream(stream, first, stream->text.len);
        check(answer);
        wire->answer_free(answer);
    }
    for (size_t step = 1; step < 20; step++) {
        struct answer *answer = read_stream(stream, step, step);
        check(answer);
        wire->answer_free(answer);
    }
}

void cut_everywhere(struct stream *stream, size_t end)
{
    for (size_t len = 0; len < end; len++) {
        stream->text.len = len;
        struct answer *answer = read_stream(stream, len, 1);
        if (answer->state != ANSWER_FAILED)
            fail_msg("cut at byte %zu of %zu it is no failure", len, end);
        assert_int_equal(answer->failure.kind, FAILURE_BROKEN_STREAM);
        wire->answer_free(answer);
    }
}

void assert_raw(const struct item *item, const char *raw)
{
    assert_int_equal(item->json_len, strlen(raw));
    assert_string_equal(item->json, raw);
}

void assert_usage(const struct answer *answer, int64_t input, int64_t cached, int64_t output,
                  int64_t reasoning)
{
    assert_int_equal(answer->response.usage.input_tokens, input);
    assert_int_equal(answer->response.usage.cached_input_tokens, cached);
    assert_int_equal(answer->response.usage.output_tokens, output);
    assert_int_equal(answer->response.usage.reasoning_output_tokens, reasoning);
}

/* ---- members removed */

struct removing {
    const char *const *events;
    size_t count;
    const char *end;
    const char *const *required;
    size_t required_count;
    size_t seen; /* of the required ones */
    json_t *event;
    size_t number;
};

static bool is_required(struct removing *removing, const char *path)
{
    for (size_t i = 0; i < removing->required_count; i++)
        if (!strcmp(removing->required[i], path)) {
            removing->seen++;
            return true;
        }
    return false;
}

/* The stream with the event as it is now. */
static void check_removed(struct removing *removing, const char *path)
{
    struct stream stream = new_stream();
    for (size_t i = 0; i < removing->count; i++) {
        AUTO_FREE char *text =
            i == removing->number ? json_dumps(removing->event, JSON_COMPACT) : NULL;
        add_event(&stream, text ? text : removing->events[i]);
    }
    buf_append_str(&stream.text, removing->end);
    struct answer *answer = read_and_release(&stream);
    if (is_required(removing, path) && answer->state != ANSWER_FAILED)
        fail_msg("without %s it is no failure", path);
    if (answer->state != ANSWER_FAILED && answer->state != ANSWER_WHOLE)
        fail_msg("without %s it is neither broken nor whole", path);
    wire->answer_free(answer);
}

static void remove_in(struct removing *removing, json_t *json, const char *path)
{
    char inner[300];
    const char *name;
    json_t *value;
    size_t i;
    json_t *as_it_is = json_copy(json);
    json_object_foreach(as_it_is, name, value) {
        snprintf(inner, sizeof inner, "%s.%s", path, name);
        remove_in(removing, value, inner);
        json_object_del(json, name);
        check_removed(removing, inner);
        json_object_set(json, name, value);
    }
    json_decref(as_it_is);
    json_array_foreach(json, i, value) {
        snprintf(inner, sizeof inner, "%s.%zu", path, i);
        remove_in(removing, value, inner);
    }
}

void remove_every_member(const char *const *events, size_t count, const char *end,
                         const char *const *required, size_t required_count)
{
    struct removing removing = {events, count, end, required, required_count, 0, NULL, 0};
    for (size_t i = 0; i < count; i++) {
        char number[24];
        snprintf(number, sizeof number, "%zu", i);
        removing.event = json_loads(events[i], JSON_ALLOW_NUL, NULL);
        removing.number = i;
        assert_non_null(removing.event);
        remove_in(&removing, removing.event, number);
        json_decref(removing.event);
    }
    assert_int_equal(removing.seen, required_count);
}
