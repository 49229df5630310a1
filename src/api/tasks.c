/* GET /v1/tasks, GET /v1/tasks/{id}, POST /v1/tasks/{id}/cancel and /deliver, GET
 * /v1/tasks/{id}/diff */
#include "api/request.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

enum { LIST_DEFAULT = 100, LIST_MAX = 1000, LIST_BYTES = 16 << 20 };

/* --- list --- */

static bool append_task(void *arg, const struct task *task)
{
    struct buf *out = arg;
    size_t before = out->len;
    if (out->len > 1)
        buf_append_char(out, ',');
    if (task_to_json(task, out) == 0 && out->len < LIST_BYTES)
        return true;
    /* What is left out comes with the next page. */
    out->len = before;
    return false;
}

void handle_list(struct request *request)
{
    struct store_list list = {.uid = request->uid == 0 ? -1 : (int64_t)request->uid,
                              .before = request_query(request, "before")};
    int64_t active;
    if (!request_number(request, "limit", 1, LIST_MAX, LIST_DEFAULT, &list.limit) ||
        !request_number(request, "active", 0, 1, 0, &active))
        return;
    list.active = active;
    AUTO_BUF struct buf out;
    buf_init(&out, LIST_BYTES + (1 << 20));
    buf_append_char(&out, '[');
    struct err err = {0};
    if (store_task_list(request->api->options.store, &list, append_task, &out, &err) < 0) {
        answer_error(request, &err);
        return;
    }
    buf_append_char(&out, ']');
    answer(request, MHD_HTTP_OK, "application/json", &out);
}

/* --- one --- */

static void on_refreshed(void *arg)
{
    struct request *request = arg;
    struct task task;
    request->waits_for = NULL;
    if (!request_task(request, &task))
        return;
    answer_task(request, MHD_HTTP_OK, &task);
    task_release(&task);
}

static void drop_refresh(struct request *request)
{
    orchestrator_refresh_drop(request->waits_for);
}

void handle_task(struct request *request)
{
    struct task task;
    if (!request_task(request, &task))
        return;
    request->call_off = drop_refresh;
    request->waits_for =
        orchestrator_refresh(request->api->options.orchestrator, &task, on_refreshed, request);
    task_release(&task);
}

/* --- cancel, deliver --- */

/* Nothing can be said in the body yet: it is empty, or an empty object. */
static bool body_is_empty(struct request *request)
{
    const char *body = request->body.data;
    if (!*body || !strcmp(body, "{}"))
        return true;
    answer_problem(request, MHD_HTTP_BAD_REQUEST, "bad_request", "this request has no body");
    return false;
}

typedef int action_fn(struct orchestrator *o, const struct task *task, struct err *err);

/* Do ACT with the task, and show how it is then. */
static void act_on_task(struct request *request, action_fn *act)
{
    struct task task;
    struct err err = {0};
    if (!body_is_empty(request) || !request_task(request, &task))
        return;
    int status = act(request->api->options.orchestrator, &task, &err);
    task_release(&task);
    if (status < 0) {
        answer_error(request, &err);
        return;
    }
    if (!request_task(request, &task))
        return;
    answer_task(request, MHD_HTTP_OK, &task);
    task_release(&task);
}

void handle_cancel(struct request *request)
{
    act_on_task(request, orchestrator_cancel);
}

void handle_deliver(struct request *request)
{
    act_on_task(request, orchestrator_deliver);
}

/* --- diff --- */

static const char *why_no_diff(const struct task *task)
{
    if (!task_state_ended(task->state))
        return "there is nothing to show yet: the work is not done";
    return "there is nothing to show: the task changed nothing";
}

void handle_diff(struct request *request)
{
    struct task task;
    if (!request_task(request, &task))
        return;
    AUTO_FREE char *path =
        orchestrator_task_file(request->api->options.orchestrator, task.id, "diff.patch");
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat file = {0};
    struct err err = {0};
    if (fd < 0 && errno != ENOENT) {
        err_errno(&err, "cannot open the diff");
        answer_error(request, &err);
    } else if (fd < 0 || fstat(fd, &file) < 0) {
        answer_problem(request, MHD_HTTP_CONFLICT, "refused", why_no_diff(&task));
    } else {
        struct MHD_Response *response =
            MHD_create_response_from_fd64((uint64_t)file.st_size, steal_fd(&fd));
        if (response)
            MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                                    "text/x-diff; charset=utf-8");
        answer_response(request, MHD_HTTP_OK, response);
    }
    task_release(&task);
}
