#include "cli/stream.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "cli/fields.h"
#include "cli/words.h"
#include "http/sse.h"

enum { PROBLEM_MAX = 65536 };

struct stream {
    struct api *api;
    char *target;
    struct stream_handlers handlers;
    void *arg;
    struct http_call *call;
    struct loop_source *retry;
    struct sse sse;
    struct buf problem; /* the answer, when it is no stream */
    int http_status;
    int64_t last_seq;
    bool task_ended; /* says the last `task.state` */
    bool told_away;
    int64_t away_since_ms, retry_ms;
    struct err err;
    int fault; /* negative: what came cannot be used; trying again would not help */
};

static void connect_now(struct stream *stream);

static void on_retry(void *arg)
{
    struct stream *stream = arg;
    stream->retry = NULL;
    connect_now(stream);
}

static void end(struct stream *stream, int status)
{
    stream->handlers.end(stream->arg, status, &stream->err);
}

static void try_again(struct stream *stream)
{
    int64_t now = clock_mono_ms();
    if (stream->away_since_ms < 0)
        stream->away_since_ms = now;
    if (now - stream->away_since_ms > STREAM_AWAY_MAX_MS) {
        end(stream, ERR_NO_SERVER);
        return;
    }
    /* Not for the first try: most often it is a restart, and over at once. */
    if (!stream->told_away && stream->retry_ms > STREAM_RETRY_MIN_MS) {
        stream->told_away = true;
        stream->handlers.away(stream->arg, stream->err.message);
    }
    stream->retry = loop_add_timer(stream->api->loop, stream->retry_ms, on_retry, stream);
    stream->retry_ms *= 2;
    if (stream->retry_ms > STREAM_RETRY_MAX_MS)
        stream->retry_ms = STREAM_RETRY_MAX_MS;
}

static void is_back(struct stream *stream)
{
    stream->away_since_ms = -1;
    if (stream->told_away)
        stream->handlers.away(stream->arg, NULL);
    stream->told_away = false;
}

static int take_event(void *arg, const struct sse_event *event)
{
    struct stream *stream = arg;
    json_error_t error;
    json_t *json = json_loadb(event->data, event->data_len, JSON_ALLOW_NUL, &error);
    int64_t seq = field_int(json, "seq", 0);
    if (seq <= 0) {
        json_decref(json);
        return err_set(&stream->err, ERR_PROTOCOL, "codexd sent an event that is none: %.100s",
                       event->data);
    }
    if (seq > stream->last_seq) {
        stream->last_seq = seq;
        stream->retry_ms = STREAM_RETRY_MIN_MS;
        if (!strcmp(field_text_or(json, "type", ""), "task.state"))
            stream->task_ended = state_is_final(field_text_or(json, "state", ""));
        stream->handlers.event(stream->arg, json);
    }
    json_decref(json);
    return 0;
}

static void on_head(void *arg, const struct http_head *head)
{
    struct stream *stream = arg;
    stream->http_status = head->status;
    if (head->status == 200)
        is_back(stream);
}

static void on_data(void *arg, const char *bytes, size_t len)
{
    struct stream *stream = arg;
    if (stream->http_status != 200) {
        buf_append(&stream->problem, bytes, len);
        return;
    }
    stream->fault = sse_feed(&stream->sse, bytes, len, take_event, stream, &stream->err);
    if (stream->fault == 0)
        return;
    http_call_cancel(stream->call);
    stream->call = NULL;
    end(stream, stream->fault);
}

static void on_end(void *arg, int status, const struct err *err)
{
    struct stream *stream = arg;
    stream->call = NULL;
    if (status < 0) {
        stream->err = *err;
        status = api_unreachable(stream->api->socket, status, &stream->err);
    } else if (stream->http_status != 200) {
        status = api_problem(stream->api, stream->http_status, stream->problem.data,
                             stream->problem.len, &stream->err);
    } else {
        err_set(&stream->err, ERR_NO_SERVER, "codexd at '%s' ended the stream",
                stream->api->socket);
    }
    /* Once it was ours, a socket that refuses is one of a codexd that is just starting. */
    bool answered = stream->http_status >= 400 && stream->http_status < 500;
    bool refused = status == ERR_REFUSED && stream->last_seq == 0 && stream->http_status == 0;
    if (stream->task_ended)
        end(stream, 0);
    else if (answered || refused)
        end(stream, status);
    else
        try_again(stream);
}

static void connect_now(struct stream *stream)
{
    static const struct http_call_handlers handlers = {on_head, on_data, on_end};
    char last[24];
    snprintf(last, sizeof last, "%lld", (long long)stream->last_seq);
    const struct http_header headers[] = {
        {"Accept", "text/event-stream"},
        {"Last-Event-ID", last},
    };
    const struct http_request request = {
        .method = "GET",
        .target = stream->target,
        .headers = headers,
        .headers_count = 2,
        .first_byte_timeout_ms = API_TIMEOUT_MS,
        .idle_timeout_ms = STREAM_IDLE_MS,
    };
    sse_release(&stream->sse);
    sse_init(&stream->sse, STREAM_EVENT_MAX);
    buf_clear(&stream->problem);
    stream->http_status = 0;
    stream->call =
        http_call_start(stream->api->loop, &stream->api->peer, &request, &handlers, stream);
}

struct stream *stream_start(struct api *api, const char *id, const struct stream_handlers *handlers,
                            void *arg)
{
    struct stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        abort();
    *stream = (struct stream){
        .api = api,
        .target = api_task_target(id, "/events"),
        .handlers = *handlers,
        .arg = arg,
        .away_since_ms = -1,
        .retry_ms = STREAM_RETRY_MIN_MS,
    };
    sse_init(&stream->sse, STREAM_EVENT_MAX);
    buf_init(&stream->problem, PROBLEM_MAX);
    connect_now(stream);
    return stream;
}

void stream_free(struct stream *stream)
{
    if (!stream)
        return;
    http_call_cancel(stream->call);
    loop_remove(stream->retry);
    sse_release(&stream->sse);
    buf_release(&stream->problem);
    free(stream->target);
    free(stream);
}
