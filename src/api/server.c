/*
 * libmicrohttpd in our own loop: its epoll descriptor is one of ours, and MHD_run() is called when
 * it is ready, when its timeout is over, and after anything was resumed (of which the descriptor
 * tells nothing). A suspended connection does not notice that its client left, so its socket is
 * watched.
 */
#include "api/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"

enum {
    CONNECTIONS_MAX = 4096,
    IDLE_SECONDS = 60, /* a connection that says nothing, or reads nothing */
};

static const char *const list_query[] = {"active", "limit", "before", NULL};
static const char *const events_query[] = {"after", "limit", NULL};

static const struct route routes[] = {
    {"GET", "/healthz", handle_health, NULL, false},
    {"GET", "/v1/doctor", handle_doctor, NULL, false},
    {"POST", "/v1/doctor", handle_doctor_ask, NULL, false},
    {"POST", "/v1/tasks", handle_submit, NULL, false},
    {"POST", "/v1/bundles", handle_bundle, NULL, true},
    {"GET", "/v1/tasks", handle_list, list_query, false},
    {"GET", "/v1/tasks/{id}", handle_task, NULL, false},
    {"GET", "/v1/tasks/{id}/events", handle_events, events_query, false},
    {"GET", "/v1/tasks/{id}/diff", handle_diff, NULL, false},
    {"POST", "/v1/tasks/{id}/cancel", handle_cancel, NULL, false},
    {"POST", "/v1/tasks/{id}/deliver", handle_deliver, NULL, false},
    {"GET", "/v1/secrets", handle_secrets, NULL, false},
    {"PUT", "/v1/secrets/{name}", handle_secret_set, NULL, false},
    {"DELETE", "/v1/secrets/{name}", handle_secret_remove, NULL, false},
};

/* --- the loop --- */

static void pump(void *arg)
{
    struct api *api = arg;
    loop_remove(api->timer);
    api->timer = NULL;
    MHD_run(api->daemon);
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    if (!api->timer && MHD_get_timeout(api->daemon, &timeout_ms) == MHD_YES)
        api->timer = loop_add_timer(api->options.loop, (int64_t)timeout_ms, pump, api);
}

static void on_timer(void *arg)
{
    ((struct api *)arg)->timer = NULL;
    pump(arg);
}

static void on_epoll(void *arg, uint32_t events)
{
    pump(arg);
}

void api_wake(struct api *api)
{
    loop_remove(api->timer);
    api->timer = loop_add_timer(api->options.loop, 0, on_timer, api);
}

/* --- requests --- */

static int connection_fd(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

enum { HOLE_SIZE = 128 };

/* The part of PATH that stands for "{…}" in PATTERN goes to HOLE, when it fits: else that is "". */
static bool path_matches(const char *pattern, const char *path, char hole[HOLE_SIZE])
{
    size_t before = strcspn(pattern, "{");
    hole[0] = '\0';
    if (!pattern[before])
        return !strcmp(pattern, path);
    if (strncmp(pattern, path, before))
        return false;
    size_t len = strcspn(path + before, "/");
    if (strcmp(strchr(pattern + before, '}') + 1, path + before + len))
        return false;
    if (len < HOLE_SIZE) {
        memcpy(hole, path + before, len);
        hole[len] = '\0';
    }
    return true;
}

/* Keep what stands for the hole in the route's path, if it is what it has to be. */
static void take_hole(struct request *request, const char *hole)
{
    const char *path = request->route->path;
    if (strstr(path, "{id}")) {
        if (!task_id_valid(hole))
            answer_problem(request, MHD_HTTP_NOT_FOUND, "not_found",
                           "that is not the id of a task (task-…)");
        else
            snprintf(request->task_id, sizeof request->task_id, "%s", hole);
    } else if (strstr(path, "{name}") && config_variable_valid(hole)) {
        snprintf(request->secret, sizeof request->secret, "%s", hole);
    }
}

/* Find the route. Answers the problem itself when there is none. */
static void choose_route(struct request *request, const char *method, const char *path)
{
    static const struct route unknown = {"", "", NULL, NULL, false};
    bool path_known = false;
    char hole[HOLE_SIZE];
    request->route = &unknown;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (!path_matches(routes[i].path, path, hole))
            continue;
        path_known = true;
        if (strcmp(routes[i].method, method))
            continue;
        request->route = &routes[i];
        take_hole(request, hole);
        return;
    }
    if (path_known)
        answer_problem(request, MHD_HTTP_METHOD_NOT_ALLOWED, "not_found",
                       "this resource does not know that method");
    else
        answer_problem(request, MHD_HTTP_NOT_FOUND, "not_found", "there is no such resource");
}

static enum MHD_Result check_query(void *arg, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    struct request *request = arg;
    for (const char *const *known = request->route->query; known && *known; known++)
        if (!strcmp(*known, name))
            return MHD_YES;
    char *shown = str_format("unknown parameter '%s'", name);
    answer_problem(request, MHD_HTTP_BAD_REQUEST, "bad_request", shown);
    free(shown);
    return MHD_NO;
}

static void refuse_size(struct request *request)
{
    answer_problem(request, MHD_HTTP_CONTENT_TOO_LARGE, "bad_request",
                   request->route->is_bundle ? "the bundle is larger than 32 MiB"
                                             : "the body is larger than 1 MiB");
}

/* What the head alone can be refused for. */
static void check_head(struct request *request)
{
    MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, check_query, request);
    const char *length = request_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    int64_t bytes;
    int64_t most = request->route->is_bundle ? BUNDLE_MAX + DRAINED_MAX : DRAINED_MAX;
    if (!request->response && length && str_parse_int(length, 0, most, &bytes) < 0)
        refuse_size(request);
    if (request->response || !request->route->is_bundle)
        return;
    if (request->api->bundles == BUNDLES_AT_ONCE) {
        answer_problem(request, MHD_HTTP_CONFLICT, "refused",
                       "too many bundles are being handed in: try again in a moment");
        return;
    }
    request->api->bundles++;
    request->counted = true;
    buf_init(&request->body, BUNDLE_MAX);
}

static struct request *request_new(struct api *api, struct MHD_Connection *connection)
{
    struct request *request = calloc(1, sizeof *request);
    if (!request)
        abort();
    *request = (struct request){.api = api, .connection = connection};
    buf_init(&request->body, BODY_MAX);
    return request;
}

static bool read_login(struct request *request)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(connection_fd(request->connection), SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return false;
    request->uid = peer.uid;
    return true;
}

static enum MHD_Result queue(struct request *request)
{
    struct MHD_Response *response = request->response;
    request->response = NULL;
    enum MHD_Result queued = MHD_queue_response(request->connection, request->status, response);
    MHD_destroy_response(response);
    return queued;
}

static void call_off(struct request *request)
{
    if (request->waits_for && request->call_off)
        request->call_off(request);
    request->waits_for = NULL;
}

/* Answer all that wait: the server ends. */
static void end_requests(struct api *api)
{
    while (api->suspended) {
        struct request *request = api->suspended;
        call_off(request);
        answer_problem(request, MHD_HTTP_SERVICE_UNAVAILABLE, "internal", "codexd is stopping");
    }
}

static void on_client_left(void *arg, uint32_t events)
{
    struct request *request = arg;
    call_off(request);
    answer_problem(request, MHD_HTTP_BAD_REQUEST, "bad_request", "the client has left");
}

static enum MHD_Result handle(struct request *request)
{
    request->handled = true;
    request->route->handle(request);
    if (request->response)
        return queue(request);
    request->suspended = true;
    request->next = request->api->suspended;
    request->api->suspended = request;
    request->watch = loop_add_fd(request->api->options.loop, connection_fd(request->connection),
                                 EPOLLRDHUP, on_client_left, request, NULL);
    MHD_suspend_connection(request->connection);
    return MHD_YES;
}

/* A client that is still sending does not read yet: of a body that is too large some is thrown away
 * first, so that it gets the answer. One that goes on and on is cut off. */
static bool take_body(struct request *request, const char *bytes, size_t len)
{
    if (!request->drained && buf_append(&request->body, bytes, len) == 0)
        return true;
    request->drained += len;
    return request->drained <= DRAINED_MAX;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    struct request *request = *state;
    if (!request) {
        request = *state = request_new(arg, connection);
        if (!read_login(request))
            return MHD_NO;
        choose_route(request, method, url);
        if (!request->response)
            check_head(request);
        /* A client that still sends its body does not read yet, so other problems wait for its
         * end. */
        return request->status == MHD_HTTP_CONTENT_TOO_LARGE ? queue(request) : MHD_YES;
    }
    if (*upload_size) {
        if (!take_body(request, upload, *upload_size))
            return MHD_NO;
        *upload_size = 0;
        return MHD_YES;
    }
    if (request->drained && !request->response)
        refuse_size(request);
    if (request->response)
        return queue(request);
    return request->handled ? MHD_NO : handle(request);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode why)
{
    struct request *request = *state;
    if (!request)
        return;
    call_off(request);
    loop_remove(request->watch);
    if (request->response)
        MHD_destroy_response(request->response);
    buf_release(&request->body);
    request->api->bundles -= request->counted;
    free(request);
    *state = NULL;
}

/* --- start and end --- */

static unsigned connections_max(void)
{
    struct rlimit files = {.rlim_cur = 256};
    getrlimit(RLIMIT_NOFILE, &files);
    return files.rlim_cur / 2 < CONNECTIONS_MAX ? (unsigned)(files.rlim_cur / 2) : CONNECTIONS_MAX;
}

struct api *api_new(const struct api_options *options, struct err *err)
{
    struct api *api = calloc(1, sizeof *api);
    if (!api)
        abort();
    api->options = *options;
    api->daemon =
        MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, api,
                         MHD_OPTION_LISTEN_SOCKET, options->listen_fd, MHD_OPTION_NOTIFY_COMPLETED,
                         on_completed, api, MHD_OPTION_CONNECTION_LIMIT, connections_max(),
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_END);
    if (!api->daemon) {
        close(options->listen_fd);
        free(api);
        err_set(err, -EIO, "cannot start the HTTP server");
        return NULL;
    }
    int epoll_fd = MHD_get_daemon_info(api->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    api->epoll = loop_add_fd(options->loop, epoll_fd, EPOLLIN, on_epoll, api, err);
    if (!api->epoll) {
        api_free(api);
        return NULL;
    }
    store_on_events(options->store, streams_on_events, api);
    api_wake(api);
    return api;
}

void api_free(struct api *api)
{
    if (!api)
        return;
    store_on_events(api->options.store, NULL, NULL);
    /* Stopping with a suspended connection aborts: resume them all, and let them see it. */
    streams_end(api);
    end_requests(api);
    MHD_run(api->daemon);
    loop_remove(api->epoll);
    loop_remove(api->timer);
    MHD_stop_daemon(api->daemon);
    free(api);
}
