#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "cli/fields.h"
#include "cli/session.h"
#include "cli/verb.h"
#include "cli/words.h"

struct cancel_options {
    struct common_options common;
};

static int cancel(struct session *session, const char *id, bool json, struct err *err)
{
    AUTO_FREE char *target = api_task_target(id, "/cancel");
    json_t *task;
    int status = api_json(&session->api, "POST", target, NULL, &task, err);
    if (status < 0)
        return status;
    if (json)
        json_print(task);
    else if (state_is_final(field_text_or(task, "state", "")))
        printf("%s is cancelled\n", id);
    else
        printf("%s is being cancelled; what was done is kept\n", id);
    json_decref(task);
    return EXIT_OK;
}

static int run_cancel(const void *arg, const char *const *arguments, int count, struct err *err)
{
    const struct cancel_options *options = arg;
    struct session session;
    int status = session_open_task(&session, arguments[0], err);
    if (status < 0)
        return status;
    status = cancel(&session, arguments[0], options->common.json, err);
    session_close(&session);
    return status;
}

const struct verb verb_cancel = {
    .name = "cancel",
    .summary = "end a task; what was done is kept",
    .arguments = "ID",
    .examples = "  codex cancel task-abc123\n",
    .options_size = sizeof(struct cancel_options),
    .arguments_min = 1,
    .arguments_max = 1,
    .run = run_cancel,
};
