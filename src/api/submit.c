/* POST /v1/tasks */
#include "api/request.h"

#include <jansson.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

enum { LOOK_WAIT_MS = 500 }; /* at most, for a look at the machine that is under way */

/* One member of the body: a string or a number. */
struct member {
    const char *name;
    const char **text;
    int64_t *number;
};

/* A string goes where STRINGS point, a number likewise; null is as good as missing. */
static int take(const struct member *members, size_t count, const char *name, const json_t *value,
                struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(members[i].name, name))
            continue;
        if (json_is_null(value))
            return 0;
        if (members[i].text && json_is_string(value)) {
            *members[i].text = json_string_value(value);
            return 0;
        }
        if (members[i].number && json_is_integer(value)) {
            *members[i].number = json_integer_value(value);
            return 0;
        }
        return err_set(err, ERR_USAGE, "'%s' is not a %s", name,
                       members[i].text ? "string" : "whole number");
    }
    return err_set(err, ERR_USAGE, "unknown member '%s'", name);
}

/* The strings in S belong to BODY. */
static int read_submission(const json_t *body, struct submission *s, struct err *err)
{
    const struct member members[] = {
        {"prompt", &s->prompt, NULL},
        {"repo", &s->repo, NULL},
        {"base", &s->base, NULL},
        {"branch", &s->branch, NULL},
        {"model", &s->model, NULL},
        {"effort", &s->effort, NULL},
        {"test", &s->test, NULL},
        {"setup", &s->setup, NULL},
        {"forge", &s->forge, NULL},
        {"budget_tokens", NULL, &s->budget_tokens},
        {"priority", NULL, &s->priority},
        {"timeout_ms", NULL, &s->timeout_ms},
        {"memory_bytes", NULL, &s->limits.of[TASK_LIMIT_MEMORY]},
        {"cpu_milli", NULL, &s->limits.of[TASK_LIMIT_CPUS]},
        {"pids", NULL, &s->limits.of[TASK_LIMIT_PIDS]},
        {"disk_bytes", NULL, &s->limits.of[TASK_LIMIT_DISK]},
        {"bundle", &s->bundle, NULL},
        {"base_commit", &s->base_commit, NULL},
        {"bundle_base", &s->bundle_base, NULL},
    };
    const char *name;
    json_t *value;
    if (!json_is_object(body))
        return err_set(err, ERR_USAGE, "the body is not a JSON object");
    json_object_foreach((json_t *)body, name, value) {
        int status = take(members, sizeof members / sizeof members[0], name, value, err);
        if (status < 0)
            return status;
    }
    if ((json_is_integer(json_object_get(body, "budget_tokens")) && s->budget_tokens <= 0) ||
        (json_is_integer(json_object_get(body, "timeout_ms")) && s->timeout_ms <= 0))
        return err_set(err, ERR_USAGE, "budget_tokens and timeout_ms are greater than 0");
    for (enum task_limit i = 0; i < TASK_LIMIT_COUNT; i++)
        if (json_is_integer(json_object_get(body, task_limit_member(i))) && s->limits.of[i] <= 0)
            return err_set(err, ERR_USAGE, "%s is greater than 0", task_limit_member(i));
    return 0;
}

static void on_submitted(void *arg, const struct task *task, const struct err *err)
{
    struct request *request = arg;
    request->waits_for = NULL;
    if (task)
        answer_task(request, MHD_HTTP_CREATED, task);
    else
        answer_error(request, err);
}

static void drop_submission(struct request *request)
{
    orchestrator_submit_drop(request->waits_for);
}

static int explain(const json_error_t *error, struct err *err)
{
    if (json_error_code(error) == json_error_null_character)
        return err_set(err, ERR_USAGE, "a string in the body has a NUL character");
    return err_set(err, ERR_USAGE, "the body is not JSON: %s", error->text);
}

static void submit(struct request *request)
{
    struct err err = {0};
    json_error_t where;
    /* NUL is refused by default, so every string here is a C string. */
    json_t *body =
        json_loadb(request->body.data, request->body.len, JSON_REJECT_DUPLICATES, &where);
    struct submission submission = {.uid = request->uid};
    int status = body ? read_submission(body, &submission, &err) : explain(&where, &err);
    if (status == 0) {
        request->call_off = drop_submission;
        request->waits_for = orchestrator_submit(request->api->options.orchestrator, &submission,
                                                 on_submitted, request, &err);
    }
    if (!request->waits_for)
        answer_error(request, &err);
    json_decref(body);
}

static void on_looked(void *arg)
{
    struct request *request = arg;
    request->waits_for = NULL;
    submit(request);
}

static void drop_look(struct request *request)
{
    orchestrator_forget_look(request->api->options.orchestrator, request);
}

void handle_submit(struct request *request)
{
    const char *type = request_header(request, MHD_HTTP_HEADER_CONTENT_TYPE);
    if (type && strncasecmp(type, "application/json", strlen("application/json"))) {
        answer_problem(request, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "bad_request",
                       "the body has to be application/json");
    } else if (orchestrator_await_look(request->api->options.orchestrator, LOOK_WAIT_MS, on_looked,
                                       request)) {
        /* The first task of a server that has just started is told what is wrong with the machine.
         */
        request->waits_for = request->api;
        request->call_off = drop_look;
    } else {
        submit(request);
    }
}
