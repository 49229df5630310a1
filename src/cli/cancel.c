#include <stdio.h>

#include <jansson.h>

#include "cli/fields.h"
#include "cli/session.h"
#include "cli/verb.h"
#include "cli/words.h"

struct cancel_options {
    struct common_options common;
};

static int run_cancel(const void *arg, const char *const *arguments, int count, struct err *err)
{
    const struct cancel_options *options = arg;
    json_t *task;
    int status = session_act(arguments[0], "cancel", &task, err);
    if (status < 0)
        return status;
    if (options->common.json)
        json_print(task);
    else if (state_is_final(field_text_or(task, "state", "")))
        printf("%s is cancelled\n", arguments[0]);
    else
        printf("%s is being cancelled; what was done is kept\n", arguments[0]);
    json_decref(task);
    return EXIT_OK;
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
