#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "cli/fields.h"
#include "cli/follow.h"
#include "cli/render.h"
#include "cli/session.h"
#include "cli/terminal.h"
#include "cli/verb.h"

enum { PAGE = 200 };

struct logs_options {
    struct common_options common;
    bool follow;
    const char *phase;
};

#define FIELD(name) offsetof(struct logs_options, name)
static const struct option logs_options[] = {
    {"follow", 'f', OPTION_FLAG, FIELD(follow), .help = "go on until the task ends"},
    {"phase", 0, OPTION_CHOICE, FIELD(phase), "PHASE", .help = "only this phase",
     .choices = "preparing|baseline|working|verifying|delivering|finishing"},
    {0},
};

static int print_events(const json_t *events, const struct logs_options *options,
                        struct render *render, int64_t *last_seq, struct err *err)
{
    const json_t *event;
    size_t i;
    AUTO_BUF struct buf out;
    buf_init(&out, RENDER_EVENT_MAX * 2);
    json_array_foreach(events, i, event) {
        int64_t seq = field_int(event, "seq", 0);
        if (seq <= *last_seq)
            return err_set(err, ERR_NO_SERVER, "codexd sent events out of order");
        *last_seq = seq;
        if (!options->common.json)
            render_event(render, event, &out);
        else if (!options->phase || !strcmp(field_text_or(event, "phase", ""), options->phase))
            json_print(event);
        int status = io_write_all(STDOUT_FILENO, out.data, out.len, err);
        if (status < 0)
            return status;
        buf_clear(&out);
    }
    return 0;
}

/* What there is so far, a page at a time. */
static int print_so_far(struct api *api, const char *id, const struct logs_options *options,
                        struct render *render, struct err *err)
{
    int64_t last_seq = 0;
    size_t came = 1;
    while (came) {
        AUTO_FREE char *rest = str_format("/events?after=%lld&limit=%d", (long long)last_seq, PAGE);
        AUTO_FREE char *target = api_task_target(id, rest);
        json_t *events;
        int status = api_json(api, "GET", target, NULL, &events, err);
        if (status < 0)
            return status;
        came = json_array_size(events);
        status = print_events(events, options, render, &last_seq, err);
        json_decref(events);
        if (status < 0)
            return status;
    }
    AUTO_BUF struct buf rest;
    buf_init(&rest, RENDER_EVENT_MAX);
    render_flush(render, &rest);
    return io_write_all(STDOUT_FILENO, rest.data, rest.len, err);
}

static int run_logs(const void *arg, const char *const *arguments, int count, struct err *err)
{
    const struct logs_options *options = arg;
    struct session session;
    int status = session_open_task(&session, arguments[0], err);
    if (status < 0)
        return status;
    if (options->follow) {
        const struct follow_options follow = {.json = options->common.json,
                                              .phase = options->phase};
        status = follow_task(&session.api, arguments[0], &follow, err);
    } else {
        struct render render = {.color = terminal_has_color(), .phase = options->phase};
        render_init(&render);
        status = print_so_far(&session.api, arguments[0], options, &render, err);
        render_release(&render);
    }
    session_close(&session);
    return status;
}

const struct verb verb_logs = {
    .name = "logs",
    .summary = "everything that was done for a task; -f goes on live",
    .arguments = "ID",
    .examples = "  codex logs -f task-abc123\n"
                "  codex logs task-abc123 --phase verifying\n"
                "  codex logs task-abc123 --json | jq 'select(.type == \"model.usage\")'\n",
    .options = logs_options,
    .options_size = sizeof(struct logs_options),
    .arguments_min = 1,
    .arguments_max = 1,
    .run = run_logs,
};
