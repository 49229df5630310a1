#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cli/fields.h"
#include "cli/format.h"
#include "cli/render.h"
#include "cli/report.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/verb.h"
#include "cli/words.h"

enum { DOING_WIDTH = 24 }; /* columns of what a task does, on a terminal */

struct status_options {
    struct common_options common;
};

/* One task that has not ended: what it does, or why it waits. */
static void add_active(struct table *table, const json_t *task)
{
    const char *state = field_text_or(task, "state", "?");
    const char *activity = field_text(task, "activity"), *waiting = field_text(task, "waiting_for");
    char elapsed[FORMAT_SIZE], in[FORMAT_SIZE];
    int64_t ms = task_elapsed_ms(task, clock_real_ms());
    format_duration(ms < 0 ? 0 : ms, elapsed);
    format_count(
        field_int(task, "usage.input_tokens", 0) + field_int(task, "usage.output_tokens", 0), in);
    table_add(table, STYLE_PLAIN, field_text(task, "id"));
    table_add(table, state_style(state), state);
    table_add(table, STYLE_PLAIN, elapsed);
    table_add(table, STYLE_PLAIN, in);
    AUTO_BUF struct buf doing;
    buf_init(&doing, API_ANSWER_MAX);
    append_line(&doing,
                waiting    ? waiting
                : activity ? activity
                           : "",
                terminal_columns() == SIZE_MAX ? SIZE_MAX : DOING_WIDTH);
    table_add(table, waiting ? STYLE_DIM : STYLE_CYAN, doing.len ? doing.data : NULL);
    table_add(table, STYLE_PLAIN, field_text(task, "prompt"));
}

static int print_active(struct session *session, bool json, struct err *err)
{
    json_t *tasks, *task;
    size_t i;
    int status = api_json(&session->api, "GET", "/v1/tasks?active=1", NULL, &tasks, err);
    if (status < 0)
        return status;
    if (json) {
        json_print(tasks);
    } else if (json_array_size(tasks) == 0) {
        puts("nothing runs and nothing waits; 'codex list' shows what has ended");
    } else {
        static const char *const header[] = {"ID", "STATE", "TIME", "TOKENS", "NOW", "PROMPT"};
        struct table table;
        AUTO_BUF struct buf out;
        buf_init(&out, API_ANSWER_MAX);
        table_init(&table, 6, header);
        json_array_foreach(tasks, i, task)
            add_active(&table, task);
        table_append(&table, terminal_columns(), terminal_has_color(), &out);
        table_release(&table);
        fputs(out.data, stdout);
    }
    json_decref(tasks);
    return EXIT_OK;
}

static int print_one(struct session *session, const char *id, bool json, struct err *err)
{
    json_t *task;
    int status = api_task(&session->api, id, &task, err);
    if (status < 0)
        return status;
    if (json) {
        json_print(task);
    } else {
        AUTO_BUF struct buf out;
        buf_init(&out, RENDER_EVENT_MAX);
        report_append(&out, task, clock_real_ms(), terminal_columns(), terminal_has_color());
        fputs(out.data, stdout);
    }
    json_decref(task);
    return EXIT_OK;
}

static int run_status(const void *arg, const char *const *arguments, int count, struct err *err)
{
    const struct status_options *options = arg;
    struct session session;
    int status =
        count ? session_open_task(&session, arguments[0], err) : session_open(&session, err);
    if (status < 0)
        return status;
    status = count ? print_one(&session, arguments[0], options->common.json, err)
                   : print_active(&session, options->common.json, err);
    session_close(&session);
    return status;
}

const struct verb verb_status = {
    .name = "status",
    .summary = "how a task is; without an ID, what runs and what waits",
    .arguments = "[ID]",
    .examples = "  codex status\n"
                "  codex status task-abc123\n"
                "  codex status task-abc123 --json | jq .verdict\n",
    .options_size = sizeof(struct status_options),
    .arguments_max = 1,
    .run = run_status,
};
