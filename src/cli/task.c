#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "cli/checkout.h"
#include "cli/fields.h"
#include "cli/follow.h"
#include "cli/session.h"
#include "cli/text.h"
#include "cli/unpushed.h"
#include "cli/verb.h"
#include "cli/words.h"
#include "task/task.h"

struct task_options {
    struct common_options common;
    const char *repo, *base, *branch, *model, *effort, *test, *setup, *forge;
    struct option_number budget_tokens, priority;
    int64_t timeout_ms;
    const char *limits[TASK_LIMIT_COUNT];
    bool follow;
};

#define FIELD(name) offsetof(struct task_options, name)
static const struct option task_options[] = {
    {"repo", 0, OPTION_TEXT, FIELD(repo), "REPO",
     .help = "a path or an address (default: the checkout you stand in)"},
    {"base", 0, OPTION_TEXT, FIELD(base), "REF", .help = "start from REF (default: HEAD)"},
    {"branch", 0, OPTION_TEXT, FIELD(branch), "NAME",
     .help = "deliver on this new branch (default: feat/...)"},
    {"model", 0, OPTION_TEXT, FIELD(model), "MODEL",
     .help = "ask MODEL (default: the configured one)"},
    {"effort", 0, OPTION_CHOICE, FIELD(effort), "LEVEL", .help = "how hard the model thinks",
     .choices = "low|medium|high|xhigh"},
    {"test", 0, OPTION_TEXT, FIELD(test), "COMMAND",
     .help = "how the tests are run (default: found)"},
    {"setup", 0, OPTION_TEXT, FIELD(setup), "COMMAND",
     .help = "what installs dependencies, as the sandbox's root (default: found)"},
    {"forge", 0, OPTION_CHOICE, FIELD(forge), "KIND",
     .help = "where the pull request goes (default: as configured)", .choices = "plain|github"},
    {"budget-tokens", 0, OPTION_NUMBER, FIELD(budget_tokens), "N",
     .help = "stop after N tokens, input and output", .min = 1, .max = INT64_MAX},
    {"timeout", 0, OPTION_DURATION, FIELD(timeout_ms), "DURATION",
     .help = "stop after that long: 90s, 15m, 8h (default), 2d"},
    {"memory", 0, OPTION_TEXT, FIELD(limits[TASK_LIMIT_MEMORY]), "SIZE",
     .help = "memory of its sandbox, less than the server's limit: 512M, 2G"},
    {"cpus", 0, OPTION_TEXT, FIELD(limits[TASK_LIMIT_CPUS]), "N",
     .help = "cores of its sandbox, likewise: 1, 0.5"},
    {"pids", 0, OPTION_TEXT, FIELD(limits[TASK_LIMIT_PIDS]), "N",
     .help = "processes of its sandbox, likewise"},
    {"disk", 0, OPTION_TEXT, FIELD(limits[TASK_LIMIT_DISK]), "SIZE",
     .help = "disk of its sandbox, likewise: 2G"},
    {"priority", 0, OPTION_NUMBER, FIELD(priority), "N", .help = "higher goes first (default: 0)",
     .min = -100, .max = 100},
    {"follow", 'f', OPTION_FLAG, FIELD(follow), .help = "stay and watch it to its end"},
    {0},
};

static int read_prompt(const char *argument, struct buf *prompt, struct err *err)
{
    int status = strcmp(argument, "-") != 0 ? buf_append_str(prompt, argument)
                                            : io_read_all(STDIN_FILENO, prompt, err);
    if (status == -ERANGE)
        return err_set(err, ERR_USAGE, "the prompt is longer than %d KiB", TASK_PROMPT_MAX / 1024);
    if (status < 0)
        return err_context(err, "standard input");
    if (memchr(prompt->data, '\0', prompt->len))
        return err_set(err, ERR_USAGE, "the prompt has a NUL byte: it is to be text");
    if (strspn(prompt->data, " \t\r\n") == prompt->len)
        return err_set(err, ERR_USAGE, "the prompt is empty: say what is to be done");
    return 0;
}

/* Put the limits that are given into BODY. */
static int add_limits(json_t *body, const char *const *limits, struct err *err)
{
    for (enum task_limit i = 0; i < TASK_LIMIT_COUNT; i++) {
        int64_t value;
        if (!limits[i])
            continue;
        if (task_limit_parse(i, limits[i], &value, err) < 0)
            return err_context(err, "--%s", task_limit_name(i));
        json_object_set_new(body, task_limit_member(i), json_integer(value));
    }
    return 0;
}

/* The body of the request. NULL, with ERR, when the prompt is not UTF-8. */
static json_t *request_body(const struct task_options *options, const struct buf *prompt,
                            const struct checkout *checkout, struct err *err)
{
    json_t *text = json_stringn(prompt->data, prompt->len);
    if (!text) {
        err_set(err, ERR_USAGE, "the prompt is not valid UTF-8");
        return NULL;
    }
    json_t *budget =
        options->budget_tokens.given ? json_integer(options->budget_tokens.n) : json_null();
    json_t *timeout = options->timeout_ms ? json_integer(options->timeout_ms) : json_null();
    json_t *priority = options->priority.given ? json_integer(options->priority.n) : json_null();
    json_error_t error;
    json_t *body =
        json_pack_ex(&error, 0, "{s:o,s:s,s:s?,s:s?,s:s?,s:s?,s:s?,s:s?,s:s?,s:o,s:o,s:o}",
                     "prompt", text, "repo", checkout->repo, "base", checkout->base, "branch",
                     options->branch, "model", options->model, "effort", options->effort, "test",
                     options->test, "setup", options->setup, "forge", options->forge,
                     "budget_tokens", budget, "timeout_ms", timeout, "priority", priority);
    if (!body)
        err_set(err, ERR_USAGE, "an option or the repository's path is not valid UTF-8");
    return body;
}

static int submit(struct session *session, const struct task_options *options,
                  const struct buf *prompt, const struct checkout *checkout, json_t **task,
                  struct err *err)
{
    json_t *body = request_body(options, prompt, checkout, err);
    if (!body)
        return err->code;
    int status = add_limits(body, options->limits, err);
    if (status == 0)
        status = session_ensure_server(session, err);
    if (status == 0 && checkout->unpushed)
        status = unpushed_send(&session->api, checkout->unpushed, body, err);
    if (status == 0)
        status = api_json(&session->api, "POST", "/v1/tasks", body, task, err);
    json_decref(body);
    /* Whoever did not name that repository may not want it either. */
    if (status < 0 && status != ERR_NO_SERVER && checkout->from_origin) {
        AUTO_FREE char *why = str_dup(err->message);
        err_set(err, err->code,
                "%s (the repository is the origin of this checkout; '--repo .' "
                "takes the checkout itself)",
                why);
    }
    return status;
}

/* The id on standard output, for scripts; what to do with it on standard error. */
static void tell_accepted(const json_t *task, const char *id, bool follow)
{
    puts(id);
    fflush(stdout);
    if (follow)
        return;
    const char *waiting = field_text(task, "waiting_for");
    AUTO_BUF struct buf line;
    buf_init(&line, 4096);
    if (waiting) {
        buf_append_str(&line, "waits for ");
        append_line(&line, waiting, 200);
        buf_append_str(&line, "; ");
    }
    fprintf(stderr, "%s'codex logs -f %s' follows it, 'codex status %s' tells how it is\n",
            line.data, id, id);
}

static int after_submission(struct session *session, const struct task_options *options,
                            const json_t *task, struct err *err)
{
    const char *id = field_text_or(task, "id", "");
    int status = api_check_id(id, err);
    if (status < 0)
        return err_context(err, "codexd's answer");
    if (!options->common.json)
        tell_accepted(task, id, options->follow);
    else if (!options->follow)
        json_print(task);
    if (!options->follow)
        return EXIT_OK;
    const struct follow_options follow = {
        .brief = true, .json = options->common.json, .json_task = true};
    return follow_task(&session->api, id, &follow, err);
}

/* One line to the person, when there is one: paths and git's words are in it. */
static void say(const char *text)
{
    AUTO_FREE char *clean = text_clean(text);
    if (text)
        fprintf(stderr, "%.*s\n", (int)strcspn(clean, "\n"), clean);
}

static int run_in_session(struct session *session, const struct task_options *options,
                          const struct buf *prompt, struct err *err)
{
    struct checkout checkout;
    int status = options->repo ? checkout_named(&checkout, options->repo, options->base, err)
                               : checkout_here(&checkout, options->base, err);
    if (status < 0)
        return status;
    say(checkout.note);
    say(checkout.warning);
    json_t *task = NULL;
    status = submit(session, options, prompt, &checkout, &task, err);
    checkout_release(&checkout);
    if (status == 0)
        status = after_submission(session, options, task, err);
    json_decref(task);
    return status;
}

static int run_task(const void *arg, const char *const *arguments, int count, struct err *err)
{
    const struct task_options *options = arg;
    AUTO_BUF struct buf prompt;
    buf_init(&prompt, TASK_PROMPT_MAX);
    if (count > 1)
        return err_set(err, ERR_USAGE, "one prompt is expected, %d words came: put it in quotes",
                       count);
    int status = read_prompt(arguments[0], &prompt, err);
    if (status < 0)
        return status;
    struct session session;
    status = session_open(&session, err);
    if (status < 0)
        return status;
    status = run_in_session(&session, options, &prompt, err);
    session_close(&session);
    return status;
}

const struct verb verb_task = {
    .name = "task",
    .summary = "hand in a task; prints its id",
    .arguments = "PROMPT",
    .examples = "  codex task \"Add pagination to the API\" --follow\n"
                "  codex task - <prompt.md --branch feat/oauth2 --effort high\n"
                "  codex task \"Fix the flaky test\" --test \"npm test\" --timeout 1h --json\n",
    .options = task_options,
    .options_size = sizeof(struct task_options),
    .arguments_min = 1,
    .arguments_max = -1,
    .run = run_task,
};
