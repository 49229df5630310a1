/*
 * The agent's event stream: whatever comes, what is in the event file then is one valid event a
 * line, of a type that the agent may use, with our phase, and text of a bounded size. Input: a byte
 * with the size of the writes, and what is written.
 */
#include <fcntl.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "gateway/output.h"
#include "gateway/stream.h"
#include "task/phase.h"

enum { INPUT_MAX = 60000, FILE_MAX = 16 << 20 };

static void require(bool condition)
{
    if (!condition)
        abort();
}

static struct loop *loop;
static struct streams *streams;
static int file = -1;
static bool ended;

static void on_failed(void *arg, const struct err *err)
{
    abort();
}

static void on_ended(void *arg, uint32_t number)
{
    ended = true;
}

static void open_streams(void)
{
    struct err err;
    loop = loop_new(&err);
    file = memfd_create("events", MFD_CLOEXEC);
    require(loop && file >= 0 && fcntl(file, F_SETFL, O_APPEND) == 0);
    struct event_file *events = event_file_new(file, on_failed, NULL, &err);
    require(events);
    streams = streams_new(loop, events, on_ended, NULL);
}

static const char *text_of(const json_t *event, const char *name)
{
    const char *text = json_string_value(json_object_get(event, name));
    require(text);
    return text;
}

static void check_line(const char *line, size_t len)
{
    static const char *const types[] = {
        "phase.output", "thread.started", "turn.started",   "turn.completed", "turn.failed",
        "item.started", "item.updated",   "item.completed", "error",          "limit.hit"};
    json_t *event = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    require(json_is_object(event));
    require(!strcmp(text_of(event, "phase"), "working") && strlen(text_of(event, "ts")) == 24);
    const char *type = text_of(event, "type");
    bool known = false;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        known = known || !strcmp(type, types[i]);
    require(known && json_object_size(event) <= 5);
    if (!strcmp(type, "phase.output"))
        require(strlen(text_of(event, "text")) <= OUTPUT_TEXT_MAX);
    json_decref(event);
}

static void check_file(void)
{
    AUTO_BUF struct buf text;
    buf_init(&text, FILE_MAX);
    require(lseek(file, 0, SEEK_SET) == 0 && io_read_all(file, &text, NULL) == 0);
    const char *line = text.data, *end;
    for (; (end = strchr(line, '\n')); line = end + 1)
        check_line(line, (size_t)(end - line));
    require(line == text.data + text.len); /* nothing behind the last line */
    require(ftruncate(file, 0) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!loop)
        open_streams();
    if (size < 2 || size > INPUT_MAX)
        return 0;
    size_t step = data[0] ? data[0] * (size_t)4 : INPUT_MAX;
    int ends[2];
    struct err err;
    require(pipe2(ends, O_CLOEXEC) == 0);
    ended = false;
    require(streams_add(streams, 1, GATEWAY_STREAM_EVENTS, PHASE_WORKING, ends[0], &err) == 0);
    for (size_t at = 1; at < size; at += step) {
        size_t n = size - at < step ? size - at : step;
        require(io_write_all(ends[1], data + at, n, &err) == 0);
        require(loop_run_once(loop, 0, NULL) == 0);
    }
    close(ends[1]);
    while (!ended)
        require(loop_run_once(loop, 1000, NULL) == 0);
    check_file();
    return 0;
}
