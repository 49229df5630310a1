#include <stdio.h>

#include <jansson.h>

#include "cli/fields.h"
#include "cli/session.h"
#include "cli/verb.h"
#include "cli/words.h"

struct deliver_options {
    struct common_options common;
};

static int run_deliver(const void *arg, const char *const *arguments, int count, struct err *err)
{
    const struct deliver_options *options = arg;
    json_t *task;
    int status = session_act(arguments[0], "deliver", &task, err);
    if (status < 0)
        return status;
    if (options->common.json)
        json_print(task);
    else
        printf("%s is being delivered again\n", arguments[0]);
    json_decref(task);
    return EXIT_OK;
}

const struct verb verb_deliver = {
    .name = "deliver",
    .summary = "try a delivery that failed again",
    .arguments = "ID",
    .examples = "  codex deliver task-abc123\n",
    .options_size = sizeof(struct deliver_options),
    .arguments_min = 1,
    .arguments_max = 1,
    .run = run_deliver,
};
