/*
 * Server-sent events. The server asks for bytes when the client can take some, and only then are
 * events read from the store: a slow reader costs no memory. When there is nothing to send, the
 * connection is suspended until the store tells of a new event, or a comment is due to keep it
 * alive.
 */
#include "api/request.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum {
    BLOCK = 32 * 1024,
    READ_EVENTS = 200,       /* at once from the store, */
    READ_BYTES = 128 * 1024, /* or until so many bytes */
    PENDING_MAX = 16 << 20,  /* one event of the largest size */
    KEEP_ALIVE_MS = 15000,
    STREAMS_MAX = 256,     /* of one user */
    STALLED_SECONDS = 600, /* a client that takes nothing for so long is gone */
};

struct stream {
    struct api *api;
    struct MHD_Connection *connection;
    uint32_t uid;
    int64_t number;
    char task_id[TASK_ID_SIZE];
    int64_t seq; /* the last one that is in `pending` or was sent */
    struct buf pending;
    size_t sent; /* bytes of it */
    bool suspended, over;
    struct loop_source *timer, *watch;
    struct stream *next;
};

static int append_event(void *arg, int64_t seq, const char *type, const char *json)
{
    struct stream *stream = arg;
    size_t before = stream->pending.len;
    if (buf_appendf(&stream->pending, "id: %lld\nevent: %s\ndata: ", (long long)seq, type) < 0 ||
        buf_append_str(&stream->pending, json) < 0 ||
        buf_append_str(&stream->pending, "\n\n") < 0) {
        stream->pending.len = before;
        return 1;
    }
    stream->seq = seq;
    return stream->pending.len >= READ_BYTES;
}

/* The event that ended the task was sent: it is the last. */
static bool task_is_over(struct stream *stream)
{
    struct task task;
    if (store_task_load(stream->api->options.store, stream->number, &task, NULL) < 0)
        return true;
    bool over = task_state_ended(task.state) && task.last_seq <= stream->seq;
    task_release(&task);
    return over;
}

static void fill(struct stream *stream)
{
    buf_clear(&stream->pending);
    stream->sent = 0;
    int count = store_event_list(stream->api->options.store, stream->number, stream->seq,
                                 READ_EVENTS, append_event, stream, NULL);
    if (count < 0 || (count == 0 && task_is_over(stream)))
        stream->over = true; /* the client comes back with Last-Event-ID */
}

static void resume(struct stream *stream)
{
    if (!stream->suspended)
        return;
    stream->suspended = false;
    loop_remove(stream->timer);
    stream->timer = NULL;
    MHD_resume_connection(stream->connection);
    api_wake(stream->api);
}

static void on_keep_alive(void *arg)
{
    struct stream *stream = arg;
    stream->timer = NULL;
    buf_clear(&stream->pending);
    stream->sent = 0;
    buf_append_str(&stream->pending, ":\n\n");
    resume(stream);
}

static void on_client_left(void *arg, uint32_t events)
{
    struct stream *stream = arg;
    loop_remove(stream->watch);
    stream->watch = NULL;
    stream->over = true;
    resume(stream);
}

static ssize_t read_stream(void *arg, uint64_t position, char *out, size_t max)
{
    struct stream *stream = arg;
    if (stream->sent == stream->pending.len && !stream->over)
        fill(stream);
    size_t left = stream->pending.len - stream->sent;
    if (left) {
        size_t len = left < max ? left : max;
        memcpy(out, stream->pending.data + stream->sent, len);
        stream->sent += len;
        return (ssize_t)len;
    }
    if (stream->over)
        return MHD_CONTENT_READER_END_OF_STREAM;
    buf_release(&stream->pending);
    stream->sent = 0;
    stream->suspended = true;
    stream->timer = loop_add_timer(stream->api->options.loop, KEEP_ALIVE_MS, on_keep_alive, stream);
    MHD_suspend_connection(stream->connection);
    return 0;
}

static void stream_free(void *arg)
{
    struct stream *stream = arg;
    struct stream **at = &stream->api->streams;
    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    loop_remove(stream->timer);
    loop_remove(stream->watch);
    buf_release(&stream->pending);
    free(stream);
}

/* One user's streams must not use up the connections of all. */
static bool has_too_many(const struct api *api, uint32_t uid)
{
    size_t count = 0;
    for (const struct stream *stream = api->streams; stream; stream = stream->next)
        count += stream->uid == uid;
    return count >= STREAMS_MAX;
}

void answer_stream(struct request *request, const struct task *task, int64_t after)
{
    struct api *api = request->api;
    if (has_too_many(api, request->uid)) {
        answer_problem(request, MHD_HTTP_CONFLICT, "refused",
                       "256 event streams of yours are open already: close some");
        return;
    }
    struct stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        abort();
    *stream = (struct stream){.api = api,
                              .connection = request->connection,
                              .uid = request->uid,
                              .number = task->number,
                              .seq = after,
                              .next = api->streams};
    memcpy(stream->task_id, task->id, sizeof stream->task_id);
    buf_init(&stream->pending, PENDING_MAX);
    api->streams = stream;
    int fd =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    stream->watch = loop_add_fd(api->options.loop, fd, EPOLLRDHUP, on_client_left, stream, NULL);
    MHD_set_connection_option(request->connection, MHD_CONNECTION_OPTION_TIMEOUT,
                              (unsigned)STALLED_SECONDS);
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, BLOCK, read_stream, stream, stream_free);
    if (!response)
        abort();
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream");
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    answer_response(request, MHD_HTTP_OK, response);
}

void streams_on_events(void *arg, const char *task_id)
{
    struct api *api = arg;
    for (struct stream *stream = api->streams; stream; stream = stream->next)
        if (!strcmp(stream->task_id, task_id))
            resume(stream);
}

void streams_end(struct api *api)
{
    for (struct stream *stream = api->streams; stream; stream = stream->next) {
        stream->over = true;
        resume(stream);
    }
}
