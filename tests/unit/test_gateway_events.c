#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "gateway/agent_event.h"
#include "gateway/output.h"
#include "gateway/stream.h"
#include "task/phase.h"

/* An event file in memory, and what to read of it. */
struct world {
    struct loop *loop;
    int fd;
    struct event_file *events;
    struct err failure;
    unsigned failures, ended;
};

static void note_failure(void *arg, const struct err *err)
{
    struct world *world = arg;
    world->failure = *err;
    world->failures++;
}

static void open_world(struct world *world)
{
    *world = (struct world){.loop = loop_new(NULL), .fd = memfd_create("events", MFD_CLOEXEC)};
    fcntl(world->fd, F_SETFL, O_APPEND);
    world->events = event_file_new(world->fd, note_failure, world, NULL);
    assert_non_null(world->events);
}

static void close_world(struct world *world)
{
    event_file_free(world->events);
    loop_free(world->loop);
    close(world->fd);
}

/* The whole file; every line is checked to be an event. */
static json_t *events_of(struct world *world)
{
    AUTO_BUF struct buf text;
    buf_init(&text, 256 << 20);
    lseek(world->fd, 0, SEEK_SET);
    assert_int_equal(io_read_all(world->fd, &text, NULL), 0);
    json_t *events = json_array();
    for (char *line = text.data, *end; (end = strchr(line, '\n')); line = end + 1) {
        json_t *event = json_loadb(line, (size_t)(end - line), JSON_REJECT_DUPLICATES, NULL);
        assert_true(json_is_object(event));
        assert_int_equal(strlen(json_string_value(json_object_get(event, "ts"))), 24);
        assert_string_equal(json_string_value(json_object_get(event, "phase")), "working");
        json_array_append_new(events, event);
    }
    return events;
}

static const char *member(const json_t *event, const char *name)
{
    const char *text = json_string_value(json_object_get(event, name));
    return text ? text : "(none)";
}

/* ---- output */

static void run_for(struct loop *loop, int rounds)
{
    for (int i = 0; i < rounds; i++)
        loop_run_once(loop, OUTPUT_GATHER_MS * 2, NULL);
}

static void small_writes_become_one_event(void **state)
{
    struct world world;
    open_world(&world);
    struct output output;
    output_init(&output, world.loop, world.events, PHASE_WORKING);
    for (int i = 0; i < 1000; i++)
        output_feed(&output, i % 10 == 9 ? "\n" : "x", 1);
    run_for(world.loop, 1);
    json_t *events = events_of(&world);
    assert_int_equal(json_array_size(events), 1);
    assert_int_equal(strlen(member(json_array_get(events, 0), "text")), 1000);
    json_decref(events);
    output_end(&output);
    close_world(&world);
}

static void a_line_waits_for_its_end_but_not_for_ever(void **state)
{
    struct world world;
    open_world(&world);
    struct output output;
    output_init(&output, world.loop, world.events, PHASE_WORKING);
    output_feed(&output, "one\ntwo: ", 9);
    run_for(world.loop, 1);
    json_t *events = events_of(&world);
    assert_int_equal(json_array_size(events), 1);
    assert_string_equal(member(json_array_get(events, 0), "text"), "one\n");
    json_decref(events);
    run_for(world.loop, OUTPUT_PARTIAL_ROUNDS);
    events = events_of(&world);
    assert_int_equal(json_array_size(events), 2);
    assert_string_equal(member(json_array_get(events, 1), "text"), "two: ");
    json_decref(events);
    output_end(&output);
    close_world(&world);
}

/* Whatever bytes come, in whatever pieces: the text is what they are in valid UTF-8. */
static void characters_are_never_split(void **state)
{
    static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";
    struct world world;
    open_world(&world);
    struct output output;
    output_init(&output, world.loop, world.events, PHASE_WORKING);
    AUTO_BUF struct buf in, out;
    buf_init(&in, 200000);
    buf_init(&out, 200000);
    for (int i = 0; i < 10000; i++) /* 100,000 bytes without a line end */
        buf_append(&in, text, sizeof text - 1);
    for (size_t at = 0; at < in.len; at += 7)
        output_feed(&output, in.data + at, in.len - at < 7 ? in.len - at : 7);
    output_end(&output);
    json_t *events = events_of(&world), *event;
    size_t i;
    json_array_foreach(events, i, event) {
        assert_true(strlen(member(event, "text")) <= OUTPUT_TEXT_MAX);
        buf_append_str(&out, member(event, "text"));
    }
    assert_int_equal(i, 4);
    assert_string_equal(out.data, in.data);
    json_decref(events);
    close_world(&world);
}

static void malformed_bytes_are_bounded_too(void **state)
{
    struct world world;
    open_world(&world);
    struct output output;
    output_init(&output, world.loop, world.events, PHASE_WORKING);
    char bytes[50000];
    memset(bytes, 0xff, sizeof bytes);
    bytes[100] = '\0';
    output_feed(&output, bytes, sizeof bytes);
    output_end(&output);
    json_t *events = events_of(&world), *event;
    size_t i, total = 0;
    json_array_foreach(events, i, event) {
        assert_true(strlen(member(event, "text")) <= OUTPUT_TEXT_MAX);
        total += strlen(member(event, "text"));
    }
    assert_int_equal(total, 3 * sizeof bytes);
    json_decref(events);
    close_world(&world);
}

static void pieces_end_at_line_ends(void **state)
{
    struct world world;
    open_world(&world);
    struct output output;
    output_init(&output, world.loop, world.events, PHASE_WORKING);
    for (int i = 0; i < 3000; i++) {
        AUTO_FREE char *line = str_format("this is line %d of the output\n", i);
        output_feed(&output, line, strlen(line));
    }
    output_end(&output);
    json_t *events = events_of(&world), *event;
    size_t i;
    json_array_foreach(events, i, event)
        assert_true(str_ends_with(member(event, "text"), "output\n"));
    assert_true(i >= 3);
    json_decref(events);
    close_world(&world);
}

static void of_a_flood_head_and_tail_are_kept(void **state)
{
    struct world world;
    open_world(&world);
    struct output output;
    output_init(&output, world.loop, world.events, PHASE_WORKING);
    const int lines = 1000000;
    for (int i = 0; i < lines; i++) {
        char line[32];
        output_feed(&output, line, (size_t)snprintf(line, sizeof line, "line %07d\n", i));
    }
    output_end(&output);
    struct stat st;
    fstat(world.fd, &st);
    assert_true(st.st_size < OUTPUT_HEAD_MAX + OUTPUT_TAIL_MAX + (1 << 20));
    json_t *events = events_of(&world), *event;
    unsigned long long left_out = 0, kept = 0;
    size_t i, limits = 0;
    json_array_foreach(events, i, event) {
        if (!strcmp(member(event, "type"), "limit.hit")) {
            limits++;
            assert_string_equal(member(event, "limit"), "output");
        } else if (sscanf(member(event, "text"), "… %llu bytes left out …\n", &left_out) != 1) {
            kept += strlen(member(event, "text"));
            assert_memory_equal(member(event, "text"), "line ", 5); /* cut at line ends */
        }
    }
    assert_int_equal(limits, 1);
    assert_int_equal(left_out + kept, 13ULL * lines);
    assert_true(str_starts_with(member(json_array_get(events, 0), "text"), "line 0000000\n"));
    assert_true(str_ends_with(member(json_array_get(events, i - 1), "text"), "line 0999999\n"));
    json_decref(events);
    close_world(&world);
}

/* A program that writes a little all the time is bounded in events, not only in bytes. */
static void every_event_costs_something(void **state)
{
    struct world world;
    open_world(&world);
    struct output output;
    output_init(&output, world.loop, world.events, PHASE_WORKING);
    for (int i = 1; i <= 3; i++) {
        output_feed(&output, "\n", 1);
        run_for(world.loop, 1);
        assert_int_equal(output.spent, i * (1 + OUTPUT_EVENT_COST));
    }
    assert_int_equal(output.pending.cap, 0); /* and takes no memory while it is silent */
    output_end(&output);
    close_world(&world);
}

/* ---- the event file */

static void a_line_cut_by_a_kill_spoils_no_other(void **state)
{
    struct world world;
    open_world(&world);
    event_file_free(world.events);
    assert_int_equal(write(world.fd, "{\"half", 6), 6);
    world.events = event_file_new(world.fd, note_failure, &world, NULL);
    event_begin(world.events, "turn.started", PHASE_WORKING);
    event_end(world.events);
    char text[200] = "";
    assert_true(pread(world.fd, text, sizeof text - 1, 0) > 0);
    assert_memory_equal(text, "{\"half\n{\"ts\":\"", 13);
    close_world(&world);
}

static void a_full_disk_is_told_once_and_leaves_whole_lines(void **state)
{
    struct world world;
    open_world(&world);
    event_begin(world.events, "turn.started", PHASE_WORKING);
    event_end(world.events);
    struct stat before, after;
    fstat(world.fd, &before);
    /* A file that may not grow any further fails like a full disk, in the middle of the line. */
    struct rlimit unlimited, tight;
    getrlimit(RLIMIT_FSIZE, &unlimited);
    tight = unlimited;
    tight.rlim_cur = (rlim_t)before.st_size + 20;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &tight);
    for (int i = 0; i < 3; i++) {
        event_begin(world.events, "turn.started", PHASE_WORKING);
        event_end(world.events);
    }
    setrlimit(RLIMIT_FSIZE, &unlimited);
    fstat(world.fd, &after);
    assert_int_equal(after.st_size, before.st_size);
    assert_int_equal(world.failures, 1);
    assert_int_equal(world.failure.code, -EFBIG);
    assert_true(event_file_sync(world.events) < 0);
    close_world(&world);
}

/* ---- the agent's events */

static const char *type_of(const char *line, size_t len)
{
    struct agent_event event;
    if (!agent_event_parse(&event, line, len))
        return "(none)";
    const char *type = event.type;
    agent_event_release(&event);
    return type;
}

static void known_events_are_events(void **state)
{
    static const char *const good[][2] = {
        {"{\"type\":\"thread.started\",\"thread_id\":\"x\"}", "thread.started"},
        {"{\"type\":\"turn.started\"}", "turn.started"},
        {" {\"usage\":{},\"type\":\"turn.completed\"} ", "turn.completed"},
        {"{\"type\":\"turn.failed\",\"error\":{\"message\":\"m\"}}", "turn.failed"},
        {"{\"type\":\"item.started\",\"item\":{}}", "item.started"},
        {"{\"type\":\"item.updated\",\"item\":{}}", "item.updated"},
        {"{\"type\":\"item.completed\",\"item\":{\"text\":\"\\ud83d\\ude00\"}}", "item.completed"},
        {"{\"type\":\"error\",\"message\":\"m\"}\r", "error"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_string_equal(type_of(good[i][0], strlen(good[i][0])), good[i][1]);
}

static void everything_else_is_none(void **state)
{
    static const char *const bad[] = {
        "",
        "x",
        "[]",
        "null",
        "\"turn.started\"",
        "{}",
        "{\"type\":null}",
        "{\"type\":\"run.ended\"}",
        "{\"type\":\"phase.completed\"}",
        "{\"type\":\"model.usage\",\"usage\":{}}",
        "{\"type\":\"task.state\"}",
        "{\"type\":\"item.started\"}",
        "{\"type\":\"item.started\",\"item\":[]}",
        "{\"type\":\"error\",\"message\":{}}",
        "{\"type\":\"turn.started\",\"type\":\"error\"}",
        "{\"type\":\"turn.started\"} {}",
        "{\"type\":\"turn.started\"",
        "{'type':'turn.started'}",
        "{\"type\":\"turn.started\\u0000\"}",
        "{\"type\":\"error\",\"message\":\"a\\u0000b\"}",
        "{\"type\":\"error\",\"message\":\"\xff\"}",
        "{\"type\":\"error\",\"message\":\"\\ud800\"}",
        "{\"type\":\"item.started\",\"item\":{\"n\":1e999}}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_string_equal(type_of(bad[i], strlen(bad[i])), "(none)");
    static const char nul[] = "{\"type\":\"turn.started\"}\0{}";
    assert_string_equal(type_of(nul, sizeof nul - 1), "(none)");
}

/* Values that are two bytes in the line and hundreds in memory, and nests that a parser recurses
 * into. */
static void what_would_cost_much_memory_is_none(void **state)
{
    AUTO_BUF struct buf line;
    buf_init(&line, 8 << 20);
    buf_append_str(&line, "{\"type\":\"item.started\",\"item\":{\"x\":[{}");
    for (int i = 0; i < 1000000; i++)
        buf_append_str(&line, ",{}");
    buf_append_str(&line, "]}}");
    assert_string_equal(type_of(line.data, line.len), "(none)");
    buf_clear(&line);
    buf_append_str(&line, "{\"type\":\"item.started\",\"item\":{\"x\":");
    for (int i = 0; i < 40; i++)
        buf_append_char(&line, '[');
    for (int i = 0; i < 40; i++)
        buf_append_char(&line, ']');
    buf_append_str(&line, "}}");
    assert_string_equal(type_of(line.data, line.len), "(none)");
}

/* ---- streams */

static void note_end(void *arg, uint32_t number)
{
    ((struct world *)arg)->ended = number;
}

/* Feed BYTES to an event stream in pieces of STEP, to its end; returns what is in the file then. */
static json_t *stream_events(const char *bytes, size_t len, size_t step)
{
    struct world world;
    open_world(&world);
    struct streams *streams = streams_new(world.loop, world.events, note_end, &world);
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(streams_add(streams, 5, GATEWAY_STREAM_EVENTS, PHASE_WORKING, ends[0], NULL),
                     0);
    for (size_t at = 0; at < len; at += step) {
        size_t n = len - at < step ? len - at : step;
        assert_int_equal(write(ends[1], bytes + at, n), n);
        loop_run_once(world.loop, 0, NULL);
    }
    close(ends[1]);
    while (!world.ended)
        loop_run_once(world.loop, 1000, NULL);
    assert_int_equal(world.ended, 5);
    streams_free(streams);
    json_t *events = events_of(&world);
    close_world(&world);
    return events;
}

static void lines_become_events_at_any_split(void **state)
{
    static const char lines[] = "{\"type\":\"turn.started\",\"ts\":\"1970-01-01T00:00:00.000Z\","
                                "\"phase\":\"verifying\",\"x\":1}\n"
                                "not an event\n\n"
                                "{\"type\":\"item.completed\",\"item\":{\"id\":\"item_0\",\"n\":1."
                                "5,\"t\":\"\xc3\xa9\\n\"},\"seq\":1}\n"
                                "{\"type\":\"error\",\"message\":\"last\"}";
    for (size_t step = 1; step < sizeof lines; step += 3) {
        json_t *events = stream_events(lines, sizeof lines - 1, step), *event;
        const char *types[3] = {"", "", ""};
        AUTO_BUF struct buf text;
        buf_init(&text, 1000);
        size_t i, n = 0;
        json_array_foreach(events, i, event) {
            if (!strcmp(member(event, "type"), "phase.output"))
                buf_append_str(&text, member(event, "text"));
            else
                types[n++] = member(event, "type");
            assert_null(json_object_get(event, "x"));
            assert_null(json_object_get(event, "seq"));
        }
        assert_string_equal(types[0], "turn.started");
        assert_string_equal(types[1], "item.completed");
        assert_string_equal(types[2], "error");
        assert_string_equal(text.data, "not an event\n\n");
        json_decref(events);
    }
}

static void a_line_without_end_becomes_output(void **state)
{
    AUTO_BUF struct buf line;
    buf_init(&line, 8 << 20);
    buf_append_str(&line, "{\"type\":\"error\",\"message\":\"");
    while (line.len < AGENT_EVENT_MAX_BYTES + 1000)
        buf_append_str(
            &line,
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    buf_append_str(&line, "\"}\n{\"type\":\"turn.started\"}\n");
    json_t *events = stream_events(line.data, line.len, 65536), *event;
    size_t i, started = 0, left_out = 0;
    json_array_foreach(events, i, event) {
        assert_string_not_equal(member(event, "type"), "error");
        started += !strcmp(member(event, "type"), "turn.started");
        left_out += strstr(member(event, "text"), "bytes left out") != NULL;
    }
    assert_int_equal(started, 1);
    assert_int_equal(left_out, 1);
    json_decref(events);
}

static void of_too_many_events_the_turns_end_is_kept(void **state)
{
    AUTO_BUF struct buf lines;
    buf_init(&lines, 96 << 20);
    AUTO_BUF struct buf item;
    buf_init(&item, 1 << 20);
    buf_append_str(&item, "{\"type\":\"item.completed\",\"item\":{\"text\":\"");
    for (int i = 0; i < 400000; i++)
        buf_append_char(&item, 'x');
    buf_append_str(&item, "\"}}\n");
    while (lines.len < STREAM_EVENTS_MAX + (4 << 20))
        buf_append(&lines, item.data, item.len);
    buf_append_str(&lines, "{\"type\":\"item.completed\",\"item\":{}}\n");
    buf_append_str(&lines, "{\"type\":\"turn.completed\",\"usage\":{}}\n");
    json_t *events = stream_events(lines.data, lines.len, 65536), *event;
    size_t i, limits = 0, turns = 0, notes = 0, items = 0;
    json_array_foreach(events, i, event) {
        limits += !strcmp(member(event, "type"), "limit.hit");
        turns += !strcmp(member(event, "type"), "turn.completed");
        items += !strcmp(member(event, "type"), "item.completed");
        notes += strstr(member(event, "text"), "bytes of events left out") != NULL;
    }
    assert_int_equal(limits, 1);
    assert_int_equal(turns, 1);
    assert_int_equal(notes, 1);
    /* and the small item, which had room where no large one had */
    assert_int_equal(items, STREAM_EVENTS_MAX / (item.len - 1 + STREAM_EVENT_COST) + 1);
    json_decref(events);
}

static void streams_are_counted_and_stopped(void **state)
{
    struct world world;
    struct err err;
    open_world(&world);
    struct streams *streams = streams_new(world.loop, world.events, note_end, &world);
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(
        streams_add(streams, 7, GATEWAY_STREAM_OUTPUT, PHASE_WORKING, dup(ends[0]), &err), 0);
    assert_int_equal(
        streams_add(streams, 7, GATEWAY_STREAM_OUTPUT, PHASE_WORKING, dup(ends[0]), &err),
        ERR_PROTOCOL);
    int file = memfd_create("no stream", MFD_CLOEXEC);
    assert_true(streams_add(streams, 8, GATEWAY_STREAM_OUTPUT, PHASE_WORKING, file, &err) < 0);
    assert_int_equal(write(ends[1], "still there", 11), 11);
    streams_stop(streams, 9); /* unknown: it may have ended by itself */
    assert_int_equal(world.ended, 0);
    streams_stop(streams, 7); /* although the write end is open */
    assert_int_equal(world.ended, 7);
    json_t *events = events_of(&world);
    assert_string_equal(member(json_array_get(events, 0), "text"), "still there");
    json_decref(events);
    close(ends[0]);
    close(ends[1]);
    streams_free(streams);
    close_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_writes_become_one_event),
        cmocka_unit_test(a_line_waits_for_its_end_but_not_for_ever),
        cmocka_unit_test(characters_are_never_split),
        cmocka_unit_test(malformed_bytes_are_bounded_too),
        cmocka_unit_test(pieces_end_at_line_ends),
        cmocka_unit_test(of_a_flood_head_and_tail_are_kept),
        cmocka_unit_test(every_event_costs_something),
        cmocka_unit_test(a_line_cut_by_a_kill_spoils_no_other),
        cmocka_unit_test(a_full_disk_is_told_once_and_leaves_whole_lines),
        cmocka_unit_test(known_events_are_events),
        cmocka_unit_test(everything_else_is_none),
        cmocka_unit_test(what_would_cost_much_memory_is_none),
        cmocka_unit_test(lines_become_events_at_any_split),
        cmocka_unit_test(a_line_without_end_becomes_output),
        cmocka_unit_test(of_too_many_events_the_turns_end_is_kept),
        cmocka_unit_test(streams_are_counted_and_stopped),
    };
    return cmocka_run_group_tests_name("gateway events", tests, NULL, NULL);
}
