/*
 * One request, from its head to its answer. A handler answers with one of the answer_* functions,
 * at once or later: until it has, the connection is suspended. Private to this room.
 */
#ifndef CODEX_API_REQUEST_H
#define CODEX_API_REQUEST_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "api/api.h"
#include "base/buf.h"

enum {
    BODY_MAX = 1 << 20,
    BUNDLE_MAX = 32 << 20,  /* the body of a bundle, */
    BUNDLES_AT_ONCE = 4,    /* of which so many are read at a time */
    DRAINED_MAX = 16 << 20, /* of a body that is too large: so much is read before the answer */
    ANSWER_MAX = 64 << 20,
};

struct request;
typedef void request_fn(struct request *request);

struct route {
    const char *method, *path; /* "{id}" stands for a task's id, "{name}" for a secret's name */
    request_fn *handle;
    const char *const *query; /* the names that may stand behind "?"; NULL: none */
    bool is_bundle;           /* the body is one: larger, and bytes */
};

struct request {
    struct api *api;
    struct MHD_Connection *connection;
    const struct route *route;
    uint32_t uid;                         /* of the peer */
    char task_id[TASK_ID_SIZE];           /* from the path, valid; "" when it has none */
    char secret[CONFIG_VARIABLE_MAX + 1]; /* from the path; "" when it is no name */
    struct buf body;
    size_t drained; /* bytes of a body that is too large */
    bool handled;   /* the handler was called */
    bool counted;   /* in api->bundles */
    bool suspended; /* and in api->suspended */
    struct request *next;
    struct MHD_Response *response; /* the answer, until it is queued */
    unsigned status;
    struct loop_source *watch; /* tells when the client leaves while it is suspended */

    /* What a handler waits for, and how to call it off when the client has left. */
    void *waits_for;
    request_fn *call_off;
};

struct api {
    struct api_options options;
    struct MHD_Daemon *daemon;
    struct loop_source *epoll, *timer;
    struct stream *streams;
    struct request *suspended;
    unsigned bundles; /* that are being read */
};

/* Something was resumed: let the server look at it in the next round of the loop. */
void api_wake(struct api *api);

/* Answers */

/* BYTES as they are; they are taken over and BYTES is empty afterwards. */
void answer(struct request *request, unsigned status, const char *type, struct buf *bytes);

/* CODE as in docs/api.md, DETAIL one line. */
void answer_problem(struct request *request, unsigned status, const char *code, const char *detail);

/* The problem that ERR is. */
void answer_error(struct request *request, const struct err *err);

/* A response made elsewhere; taken over. */
void answer_response(struct request *request, unsigned status, struct MHD_Response *response);

/* Helpers of the handlers */

/* The request's task, or an answered problem and false. The caller releases. */
bool request_task(struct request *request, struct task *out);

void answer_task(struct request *request, unsigned status, const struct task *task);

/* A number behind "?"; FALLBACK when it is not there. False: answered, it is malformed. */
bool request_number(struct request *request, const char *name, int64_t min, int64_t max,
                    int64_t fallback, int64_t *out);

const char *request_query(struct request *request, const char *name);
const char *request_header(struct request *request, const char *name);

/* The handlers */
request_fn handle_health, handle_doctor, handle_doctor_ask, handle_submit, handle_list, handle_task,
    handle_events, handle_diff, handle_cancel, handle_deliver, handle_bundle, handle_secrets,
    handle_secret_set, handle_secret_remove;

/* Server-sent events of TASK after AFTER: stream.c. */
void answer_stream(struct request *request, const struct task *task, int64_t after);
void streams_on_events(void *api, const char *task_id);
void streams_end(struct api *api);

#endif
