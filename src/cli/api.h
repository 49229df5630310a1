/*
 * Calls to codexd on its Unix socket, one at a time and to their end. Whatever goes wrong becomes
 * an error whose code says how `codex` exits (cli_exit_status): ERR_NO_SERVER when nobody answers,
 * else what the server's problem document says (docs/api.md).
 */
#ifndef CODEX_CLI_API_H
#define CODEX_CLI_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"
#include "http/client.h"
#include "loop/loop.h"

enum {
    API_ANSWER_MAX = 256 << 20, /* bytes of one answer: a diff, a page of events */
    API_TIMEOUT_MS = 60 * 1000, /* for an answer to begin, and between two pieces of it */
};

struct api {
    struct loop *loop;
    struct http_peer peer;
    char *socket;
};

/* Nothing is sent yet. */
int api_init(struct api *api, const char *socket, struct err *err);
void api_release(struct api *api);

/* The answer's body into OUT. BODY NULL: none is sent. The loop runs meanwhile. */
int api_call(struct api *api, const char *method, const char *target, const json_t *body,
             struct buf *out, struct err *err);

/* POST BYTES as they are. */
int api_send(struct api *api, const char *target, const struct buf *bytes, struct buf *out,
             struct err *err);

/* The same with a body that is no JSON: LEN bytes of plain text. */
int api_put(struct api *api, const char *target, const char *bytes, size_t len, struct buf *out,
            struct err *err);

/* As api_call, and the answer is JSON: *OUT, which the caller releases by json_decref(). */
int api_json(struct api *api, const char *method, const char *target, const json_t *body,
             json_t **out, struct err *err);

/* Can ID be one of a task? ERR_NOT_FOUND and what to do otherwise. Only such an id goes into a
 * target. */
int api_check_id(const char *id, struct err *err);

/* "/v1/tasks/ID" + REST; the caller frees. ID has been checked. */
char *api_task_target(const char *id, const char *rest);

/* The task ID as the server tells it; the caller releases. */
int api_task(struct api *api, const char *id, json_t **task, struct err *err);

/* What an answer that is not 2xx means: BODY is its problem document, or anything. */
int api_problem(const struct api *api, int http_status, const char *body, size_t len,
                struct err *err);

/* When the environment has the variable NAME, the command that hands its value over to the server as
 * a secret; else NULL. The caller frees. */
char *api_key_command(const struct api *api, const char *name);

/* What it means that a call failed by STATUS before a whole answer came; rewrites ERR. */
int api_unreachable(const char *socket, int status, struct err *err);

#endif
