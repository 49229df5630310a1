#include "gateway/stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "gateway/agent_event.h"
#include "gateway/output.h"

enum { READ_SIZE = 65536, READS_A_ROUND = 4 };

struct stream {
    struct streams *streams;
    struct stream *next;
    uint32_t number, phase;
    enum gateway_stream_kind kind;
    int fd;
    struct loop_source *source;
    struct output output;         /* of an event stream: what is no event */
    struct buf line;              /* of an event stream: the line that has begun */
    bool overlong;                /* its beginning went to the output already */
    uint64_t looked_at, left_out; /* bytes of lines */
    unsigned late_lines, reserve_used;
};

struct streams {
    struct loop *loop;
    struct event_file *events;
    stream_ended_fn *ended;
    void *arg;
    struct stream *first;
    unsigned count;
    char *chunk; /* READ_SIZE bytes, once there is a stream */
};

struct streams *streams_new(struct loop *loop, struct event_file *events, stream_ended_fn *ended,
                            void *arg)
{
    struct streams *streams = calloc(1, sizeof *streams);
    if (!streams)
        abort();
    *streams = (struct streams){.loop = loop, .events = events, .ended = ended, .arg = arg};
    return streams;
}

static void stream_free(struct stream *stream)
{
    struct streams *streams = stream->streams;
    struct stream **at = &streams->first;
    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    streams->count--;
    loop_remove(stream->source);
    close(stream->fd);
    buf_release(&stream->line);
    loop_remove(stream->output.timer);
    buf_release(&stream->output.pending);
    free(stream->output.tail);
    free(stream);
}

void streams_free(struct streams *streams)
{
    if (!streams)
        return;
    while (streams->first)
        stream_free(streams->first);
    free(streams->chunk);
    free(streams);
}

/* Too many events came. */
static void leave_out(struct stream *stream, size_t len)
{
    if (!stream->left_out)
        event_limit_hit(stream->streams->events, stream->phase, "output", STREAM_EVENTS_MAX);
    stream->left_out += len;
}

static bool ends_a_turn(const char *type)
{
    return !strcmp(type, "turn.completed") || !strcmp(type, "turn.failed");
}

/* A line behind the bound: is it worth a look? */
static bool is_looked_at_late(struct stream *stream, size_t len)
{
    return len <= STREAM_LATE_LINE_BYTES && stream->late_lines++ < STREAM_LATE_LINES_MAX;
}

static void take_late_event(struct stream *stream, const struct agent_event *event, size_t len)
{
    if (!ends_a_turn(event->type) || stream->reserve_used + len > STREAM_EVENTS_RESERVE) {
        leave_out(stream, len);
        return;
    }
    stream->reserve_used += (unsigned)len;
    agent_event_write(event, stream->streams->events, stream->phase);
}

/* A whole line without its end: an event, or else text like any other output. */
static void take_line(struct stream *stream, const char *line, size_t len)
{
    bool late = stream->looked_at + len + STREAM_EVENT_COST > STREAM_EVENTS_MAX;
    if (late && !is_looked_at_late(stream, len)) {
        leave_out(stream, len);
        return;
    }
    stream->looked_at += late ? 0 : len + STREAM_EVENT_COST;
    struct agent_event event;
    if (!agent_event_parse(&event, line, len)) {
        output_feed(&stream->output, line, len);
        output_feed(&stream->output, "\n", 1);
        return;
    }
    if (late)
        take_late_event(stream, &event, len);
    else
        agent_event_write(&event, stream->streams->events, stream->phase);
    agent_event_release(&event);
}

static void take_event_bytes(struct stream *stream, const char *bytes, size_t len)
{
    while (len) {
        const char *end = memchr(bytes, '\n', len);
        size_t part = end ? (size_t)(end - bytes) : len;
        size_t with_end = part + (end ? 1 : 0);
        if (stream->overlong) {
            output_feed(&stream->output, bytes, with_end);
            stream->overlong = !end;
        } else if (end && !stream->line.len) {
            take_line(stream, bytes, part);
        } else if (buf_append(&stream->line, bytes, part) < 0) {
            output_feed(&stream->output, stream->line.data, stream->line.len);
            output_feed(&stream->output, bytes, with_end);
            buf_release(&stream->line);
            stream->overlong = !end;
        } else if (end) {
            take_line(stream, stream->line.data, stream->line.len);
            buf_release(&stream->line);
        }
        bytes += with_end;
        len -= with_end;
    }
}

static void write_left_out(const struct stream *stream)
{
    char text[64];
    int n = snprintf(text, sizeof text, "… %llu bytes of events left out …\n",
                     (unsigned long long)stream->left_out);
    output_note(stream->streams->events, stream->phase, text, (size_t)n);
}

static void end_stream(struct stream *stream)
{
    struct streams *streams = stream->streams;
    uint32_t number = stream->number;
    if (stream->line.len)
        take_line(stream, stream->line.data, stream->line.len);
    output_end(&stream->output);
    if (stream->left_out)
        write_left_out(stream);
    stream_free(stream);
    streams->ended(streams->arg, number);
}

/* Returns how much was read, 0 when there is nothing now, or -1 at the end (a broken stream's
 * too). */
static ssize_t read_some(struct stream *stream)
{
    char *chunk = stream->streams->chunk;
    ssize_t n = read(stream->fd, chunk, READ_SIZE);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return -1;
    if (stream->kind == GATEWAY_STREAM_EVENTS)
        take_event_bytes(stream, chunk, (size_t)n);
    else
        output_feed(&stream->output, chunk, (size_t)n);
    return n;
}

static void on_readable(void *arg, uint32_t events)
{
    struct stream *stream = arg;
    ssize_t n = READ_SIZE;
    for (int i = 0; i < READS_A_ROUND && n == READ_SIZE; i++)
        n = read_some(stream);
    if (n < 0)
        end_stream(stream);
}

int streams_add(struct streams *streams, uint32_t number, enum gateway_stream_kind kind,
                uint32_t phase, int fd, struct err *err)
{
    for (struct stream *other = streams->first; other; other = other->next)
        if (other->number == number) {
            close(fd);
            return err_set(err, ERR_PROTOCOL, "stream %u is there already", number);
        }
    if (streams->count == STREAMS_MAX || io_set_nonblocking(fd, true) < 0) {
        close(fd);
        return err_set(err, ERR_PROTOCOL, "stream %u cannot be taken", number);
    }
    if (!streams->chunk && !(streams->chunk = malloc(READ_SIZE)))
        abort();
    struct stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        abort();
    *stream = (struct stream){.streams = streams,
                              .next = streams->first,
                              .number = number,
                              .phase = phase,
                              .kind = kind,
                              .fd = fd};
    streams->first = stream;
    streams->count++;
    buf_init(&stream->line, AGENT_EVENT_MAX_BYTES);
    output_init(&stream->output, streams->loop, streams->events, phase);
    stream->source = loop_add_fd(streams->loop, fd, EPOLLIN, on_readable, stream, err);
    if (!stream->source) {
        stream_free(stream);
        return err_context(err, "stream %u", number);
    }
    return 0;
}

static void stop_stream(struct stream *stream)
{
    ssize_t n;
    size_t total = 0;
    while (total < STREAM_STOP_MAX && (n = read_some(stream)) > 0)
        total += (size_t)n;
    end_stream(stream);
}

void streams_stop(struct streams *streams, uint32_t number)
{
    struct stream *stream = streams->first;
    while (stream && stream->number != number)
        stream = stream->next;
    if (stream)
        stop_stream(stream);
}

void streams_stop_all(struct streams *streams)
{
    while (streams->first)
        stop_stream(streams->first);
}
