/* GET /v1/tasks/{id}/events: an array, or with Accept: text/event-stream all of them as they
 * come. */
#include "api/request.h"

#include <string.h>

#include "base/str.h"

enum { EVENTS_DEFAULT = 1000, EVENTS_MAX = 10000, EVENTS_BYTES = 16 << 20 };

static int append_event(void *arg, int64_t seq, const char *type, const char *json)
{
    struct buf *out = arg;
    size_t len = strlen(json);
    if (out->len > 1 && out->len + len > EVENTS_BYTES)
        return 1; /* what is left out comes with the next page */
    if (out->len > 1)
        buf_append_char(out, ',');
    return buf_append(out, json, len) < 0;
}

static void answer_array(struct request *request, const struct task *task, int64_t after,
                         int64_t limit)
{
    struct buf out;
    struct err err = {0};
    buf_init(&out, ANSWER_MAX);
    buf_append_char(&out, '[');
    if (store_event_list(request->api->options.store, task->number, after, limit, append_event,
                         &out, &err) < 0) {
        answer_error(request, &err);
    } else {
        buf_append_char(&out, ']');
        answer(request, MHD_HTTP_OK, "application/json", &out);
    }
    buf_release(&out);
}

/* Where a stream begins: behind the last event that the client has seen. */
static bool read_last_id(struct request *request, int64_t *after)
{
    const char *last = request_header(request, "Last-Event-ID");
    if (!last || str_parse_int(last, 0, INT64_MAX, after) == 0)
        return true;
    answer_problem(request, MHD_HTTP_BAD_REQUEST, "bad_request", "Last-Event-ID is not a number");
    return false;
}

void handle_events(struct request *request)
{
    int64_t after, limit;
    struct task task;
    const char *accept = request_header(request, MHD_HTTP_HEADER_ACCEPT);
    bool stream = accept && strstr(accept, "text/event-stream");
    if (!request_number(request, "after", 0, INT64_MAX, 0, &after) ||
        !request_number(request, "limit", 1, EVENTS_MAX, EVENTS_DEFAULT, &limit) ||
        (stream && !read_last_id(request, &after)) || !request_task(request, &task))
        return;
    if (stream)
        answer_stream(request, &task, after);
    else
        answer_array(request, &task, after, limit);
    task_release(&task);
}
