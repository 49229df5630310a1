#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "cli/fields.h"
#include "cli/format.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/verb.h"
#include "cli/words.h"

enum { LIMIT_DEFAULT = 50, PAGE = 200, BRANCH_WIDTH = 24 /* columns, on a terminal */ };

struct list_options {
    struct common_options common;
    struct option_number limit;
    bool all;
};

#define FIELD(name) offsetof(struct list_options, name)
static const struct option list_options[] = {
    {"limit", 'n', OPTION_NUMBER, FIELD(limit), "N", .help = "the newest N (default: 50)", .min = 1,
     .max = 100000},
    {"all", 'a', OPTION_FLAG, FIELD(all), .help = "all of them"},
    {0},
};

/* Append the tasks that come after the last one in TASKS, COUNT at most; how many came, or
 * negative. */
static int64_t fetch_page(struct session *session, json_t *tasks, int64_t count, struct err *err)
{
    const json_t *last = json_array_get(tasks, json_array_size(tasks) - 1);
    const char *before = field_text(last, "id");
    if (last && (!before || api_check_id(before, err) < 0))
        return err_set(err, ERR_NO_SERVER, "codexd sent a task without an id");
    AUTO_FREE char *target = str_format("/v1/tasks?limit=%lld%s%s", (long long)count,
                                        before ? "&before=" : "", before ? before : "");
    json_t *page;
    int status = api_json(&session->api, "GET", target, NULL, &page, err);
    if (status < 0)
        return status;
    int64_t came = (int64_t)json_array_size(page);
    json_array_extend(tasks, page);
    json_decref(page);
    return came;
}

/* The newest LIMIT tasks (0: all), a page at a time; *MORE says that there are older ones. */
static int fetch(struct session *session, int64_t limit, json_t *tasks, bool *more, struct err *err)
{
    *more = false;
    for (;;) {
        int64_t have = (int64_t)json_array_size(tasks);
        /* One beyond the limit tells whether there is more. */
        int64_t want = limit && limit + 1 - have < PAGE ? limit + 1 - have : PAGE;
        int64_t came = fetch_page(session, tasks, want, err);
        if (came < 0)
            return (int)came;
        *more = limit && have + came > limit;
        if (*more)
            json_array_remove(tasks, (size_t)limit);
        if (*more || came == 0) /* a page may be short because its tasks are large */
            return 0;
    }
}

static void add_row(struct table *table, const json_t *task)
{
    const char *state = field_text_or(task, "state", "?");
    const char *verdict = field_text(task, "verdict");
    char age[FORMAT_SIZE] = "?";
    int64_t created = field_time(task, "created_at");
    if (created >= 0)
        format_age(clock_real_ms() - created, age);
    table_add(table, STYLE_PLAIN, field_text(task, "id"));
    table_add(table, STYLE_DIM, age);
    table_add(table, state_style(state), state);
    table_add(table, verdict_style(verdict), verdict);
    AUTO_BUF struct buf branch;
    buf_init(&branch, API_ANSWER_MAX);
    append_line(&branch, field_text_or(task, "branch", "-"),
                terminal_columns() == SIZE_MAX ? SIZE_MAX : BRANCH_WIDTH);
    table_add(table, STYLE_PLAIN, branch.data);
    table_add(table, STYLE_PLAIN, field_text(task, "prompt"));
}

static void print_table(const json_t *tasks)
{
    static const char *const header[] = {"ID", "AGE", "STATE", "VERDICT", "BRANCH", "PROMPT"};
    struct table table;
    const json_t *task;
    size_t i;
    AUTO_BUF struct buf out;
    buf_init(&out, API_ANSWER_MAX);
    table_init(&table, 6, header);
    json_array_foreach(tasks, i, task)
        add_row(&table, task);
    table_append(&table, terminal_columns(), terminal_has_color(), &out);
    table_release(&table);
    fputs(out.data, stdout);
}

static int run_list(const void *arg, const char *const *arguments, int count, struct err *err)
{
    const struct list_options *options = arg;
    struct session session;
    bool more;
    int64_t limit = options->limit.given ? options->limit.n : LIMIT_DEFAULT;
    int status = session_open(&session, err);
    if (status < 0)
        return status;
    json_t *tasks = json_array();
    status = fetch(&session, options->all ? 0 : limit, tasks, &more, err);
    session_close(&session);
    if (status == 0) {
        if (options->common.json)
            json_print(tasks);
        else if (json_array_size(tasks))
            print_table(tasks);
        else
            puts("no tasks yet: codex task \"...\" hands one in");
        if (more)
            fprintf(stderr, "these are the newest %lld; --all lists the rest, too\n",
                    (long long)limit);
    }
    json_decref(tasks);
    return status;
}

const struct verb verb_list = {
    .name = "list",
    .summary = "the tasks, newest first",
    .arguments = "",
    .examples = "  codex list -n 10\n"
                "  codex list --all --json | jq -r '.[] | select(.state == \"failed\").id'\n",
    .options = list_options,
    .options_size = sizeof(struct list_options),
    .run = run_list,
};
