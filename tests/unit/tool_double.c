#include "tool_double.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/str.h"

enum { PATIENCE_MS = 20000, EVENT_BYTES_MAX = 64 << 20, OWN_UIDS = 3000000 };

void (*on_finish)(struct asked *asked);

void tool_call_finish(struct tool_call *call, bool ok, const char *text, size_t len)
{
    struct asked *asked = (struct asked *)call; /* its first member */
    assert_false(asked->done);
    struct buf clean;
    buf_init(&clean, len * 3 + 1);
    str_append_utf8(&clean, text, len);
    asked->done = true;
    asked->ok = ok;
    asked->text = buf_steal(&clean, NULL);
    if (on_finish)
        on_finish(asked);
}

void tool_call_finish_image(struct tool_call *call, const char *text, const struct image *image)
{
    struct asked *asked = (struct asked *)call;
    asked->media_type = str_dup(image->media_type);
    asked->base64 = str_format("%.*s", (int)image->base64_len, image->base64);
    tool_call_finish(call, true, text, strlen(text));
}

void tool_call_finishf(struct tool_call *call, bool ok, const char *format, ...)
{
    va_list args;
    char *text;
    va_start(args, format);
    assert_true(vasprintf(&text, format, args) >= 0);
    va_end(args);
    tool_call_finish(call, ok, text, strlen(text));
    free(text);
}

void bench_open(struct bench *bench, bool drop)
{
    struct err err;
    int fds[2];
    signal(SIGPIPE, SIG_IGN);
    *bench = (struct bench){.home = "/tmp/codex-tools-XXXXXX"};
    assert_non_null(mkdtemp(bench->home));
    snprintf(bench->workdir, sizeof bench->workdir, "%s/work", bench->home);
    assert_int_equal(mkdir(bench->workdir, 0700), 0);
    bench->loop = loop_new(&err);
    assert_non_null(bench->loop);
    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    assert_true(fcntl(fds[1], F_SETPIPE_SZ, 1 << 20) > 0);
    bench->events_fd = fds[0];
    buf_init(&bench->event_bytes, EVENT_BYTES_MAX);
    bench->host = (struct tool_host){
        .loop = bench->loop,
        .events = events_new(fds[1], 0),
        .workdir = bench->workdir,
        .drop = drop,
        /* Also when it is not become: /etc/passwd then leads to no real home, whose start-up files
         * would be part of the test. */
        .uid = (uid_t)(OWN_UIDS + getpid()),
        .gid = (gid_t)(OWN_UIDS + getpid()),
    };
    if (!drop)
        return;
    assert_int_equal(chown(bench->workdir, bench->host.uid, bench->host.gid), 0);
    assert_int_equal(chown(bench->home, bench->host.uid, bench->host.gid), 0);
}

static void collect_events(struct bench *bench)
{
    ssize_t n;
    do {
        char *room = buf_reserve(&bench->event_bytes, 65536);
        assert_non_null(room);
        n = read(bench->events_fd, room, 65536);
        if (n > 0)
            buf_wrote(&bench->event_bytes, (size_t)n);
    } while (n > 0);
}

void bench_close(struct bench *bench)
{
    struct err err;
    assert_int_equal(events_status(bench->host.events), 0);
    events_free(bench->host.events);
    close(bench->events_fd);
    buf_release(&bench->event_bytes);
    loop_free(bench->loop);
    assert_int_equal(io_remove_tree_at(AT_FDCWD, bench->home, &err), 0);
}

static void turn(struct bench *bench, int64_t timeout_ms)
{
    struct err err;
    assert_true(loop_run_once(bench->loop, timeout_ms, &err) >= 0);
    collect_events(bench);
}

void ask_begin(struct tool_group *group, const char *name, const char *arguments,
               struct asked *asked)
{
    const struct tool *tool = group->tools;
    while (strcmp(tool->name, name) != 0)
        assert_true(++tool < group->tools + group->count);
    *asked = (struct asked){.call = {.call_id = "call_1", .name = name}};
    if (tool->kind == TOOL_FUNCTION) {
        json_error_t error;
        asked->arguments = json_loads(arguments, JSON_ALLOW_NUL, &error);
        assert_true(json_is_object(asked->arguments));
        asked->call.arguments = asked->arguments;
    } else {
        asked->call.input = arguments;
        asked->call.input_len = strlen(arguments);
    }
    tool->start(group->state, &asked->call);
}

void ask_wait(struct bench *bench, struct asked *asked)
{
    int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    while (!asked->done) {
        assert_true(clock_mono_ms() < until_ms);
        turn(bench, 1000);
    }
}

const char *ask(struct bench *bench, struct tool_group *group, const char *tool,
                const char *arguments, struct asked *asked)
{
    ask_begin(group, tool, arguments, asked);
    ask_wait(bench, asked);
    return asked->text;
}

void asked_release(struct asked *asked)
{
    json_decref(asked->arguments);
    free(asked->text);
    free(asked->media_type);
    free(asked->base64);
}

void bench_run(struct bench *bench, int64_t ms)
{
    int64_t until_ms = clock_mono_ms() + ms;
    int64_t left;
    while ((left = until_ms - clock_mono_ms()) > 0)
        turn(bench, left);
}

int64_t bench_stop(struct bench *bench, struct tool_group *group)
{
    int64_t began_ms = clock_mono_ms();
    if (group->stop)
        group->stop(group->state);
    while (group->running && group->running(group->state)) {
        assert_true(clock_mono_ms() < began_ms + PATIENCE_MS);
        turn(bench, 1000);
    }
    int64_t took_ms = clock_mono_ms() - began_ms;
    collect_events(bench);
    if (group->free)
        group->free(group->state);
    return took_ms;
}

json_t *bench_events(struct bench *bench)
{
    collect_events(bench);
    json_t *events = json_array();
    char *line = bench->event_bytes.data, *end;
    for (; (end = strchr(line, '\n')); line = end + 1) {
        json_t *event = json_loadb(line, (size_t)(end - line), 0, NULL);
        assert_non_null(event);
        json_array_append_new(events, event);
    }
    buf_clear(&bench->event_bytes);
    return events;
}

json_t *last_item(const json_t *events, const char *type)
{
    for (size_t i = json_array_size(events); i-- > 0;) {
        json_t *item = json_object_get(json_array_get(events, i), "item");
        if (!strcmp(member(item, "type"), type))
            return item;
    }
    return NULL;
}

const char *member(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));
    return value ? value : "";
}

const char *text_of(const char *format, ...)
{
    static char *texts[16];
    static size_t next;
    va_list args;
    char **text = &texts[next++ % 16];
    free(*text);
    va_start(args, format);
    assert_true(vasprintf(text, format, args) >= 0);
    va_end(args);
    return *text;
}
