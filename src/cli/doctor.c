#include "cli/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/checkout.h"
#include "cli/fields.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "cli/verb.h"
#include "cli/words.h"

enum { CHECK_WIDTH = 18 };

struct doctor_options {
    struct common_options common;
    bool server_pid, offline;
};

static const struct option doctor_options[] = {
    {"offline", 0, OPTION_FLAG, offsetof(struct doctor_options, offline),
     .help = "ask neither the model nor forges"},
    {"server-pid", 0, OPTION_FLAG, offsetof(struct doctor_options, server_pid),
     .help = "print the process that serves this state directory", .hidden = true},
    {0},
};

void check_add(json_t *list, const char *check, enum finding finding, const char *remedy,
               const char *detail, ...)
{
    char *text;
    va_list args;
    va_start(args, detail);
    if (vasprintf(&text, detail, args) < 0)
        abort();
    va_end(args);
    AUTO_FREE char *line = text_clean(text);
    free(text);
    static const char *const statuses[] = {[FOUND_OK] = "ok",
                                           [FOUND_WARNING] = "warn",
                                           [FOUND_UNKNOWN] = "warn",
                                           [FOUND_TROUBLE] = "fail"};
    json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s?}", "check", check, "status",
                                          statuses[finding], "detail", line, "remedy", remedy));
}

/* Which model there would be, when no server can be asked. */
static void check_model(json_t *list, const struct config *config)
{
    const struct config_provider *provider = config_provider_find(config, config->provider);
    if (config->model && provider)
        check_add(list, "model", FOUND_WARNING, "codex task starts one; then ask again",
                  "%s from provider '%s', not tried: that takes a server", config->model,
                  provider->name);
    else
        check_add(list, "model", FOUND_TROUBLE,
                  "set name and provider in [model] of codex.conf and add its [provider] section",
                  "no model is configured");
}

/* Nobody serves. The first task starts a server, unless one is expected elsewhere. */
static void no_server(json_t *list, const struct session *session, const struct err *err)
{
    if (err->code == ERR_NO_SERVER && !session_is_configured(session))
        check_add(list, "server", FOUND_OK, NULL, "none runs; the first task starts one");
    else
        check_add(list, "server", FOUND_TROUBLE,
                  err->code == ERR_NO_SERVER ? "codexd --config FILE" : NULL, "%s", err->message);
}

static void check_version(json_t *list, const struct session *session, const json_t *health)
{
    const char *version = field_text_or(health, "version", "?");
    if (!strcmp(version, CODEX_VERSION))
        check_add(list, "server", FOUND_OK, NULL, "version %s answers at '%s'", version,
                  session->api.socket);
    else
        check_add(list, "server", FOUND_WARNING, "restart codexd: tasks go on meanwhile",
                  "version %s answers at '%s', but this is codex %s", version, session->api.socket,
                  CODEX_VERSION);
}

/* A key that the server lacks and the caller's shell has: the remedy is to hand it over. */
static void offer_key(const struct session *session, json_t *check)
{
    const char *name = field_text(check, "env_key");
    if (!name || !strcmp(field_text_or(check, "status", ""), "ok"))
        return;
    AUTO_FREE char *command = api_key_command(&session->api, name);
    if (command)
        json_object_set_new(check, "remedy", json_string(command));
}

/* What only the server can tell. Whether one answered. */
static bool server_checks(json_t *list, struct session *session, bool offline)
{
    struct err err;
    json_t *health, *checks, *check;
    size_t i;
    if (api_json(&session->api, "GET", "/healthz", NULL, &health, &err) < 0) {
        no_server(list, session, &err);
        return false;
    }
    check_version(list, session, health);
    json_decref(health);
    AUTO_FREE char *origin = offline ? NULL : checkout_origin();
    json_t *body = origin ? json_pack("{s:s}", "repo", origin) : NULL;
    int status =
        api_json(&session->api, offline ? "GET" : "POST", "/v1/doctor", body, &checks, &err);
    json_decref(body);
    if (status < 0) {
        check_add(list, "server's checks", FOUND_TROUBLE, "see the log of codexd", "%s",
                  err.message);
        return false;
    }
    json_array_foreach(checks, i, check) {
        offer_key(session, check);
        json_array_append(list, check);
    }
    json_decref(checks);
    return true;
}

/* All checks there are, in the order in which one would look. */
static json_t *examine(bool offline)
{
    json_t *list = json_array();
    struct session session;
    struct err err;
    bool open = session_open(&session, &err) == 0;
    doctor_kernel(list);
    doctor_git(list);
    if (open) {
        const char *file = session.paths.config;
        check_add(list, "configuration", file ? FOUND_OK : FOUND_WARNING,
                  file ? NULL : "write /etc/codex/codex.conf: man codex.conf", "%s",
                  file ? file : "there is none: a model has to be named in one");
        doctor_users(list, &session);
        doctor_state(list, &session);
        bool answered = server_checks(list, &session, offline); /* the machine among them */
        if (!answered)
            check_model(list, &session.config);
        if (!answered && !doctor_is_guest(&session))
            doctor_machine(list, &session);
        else if (!answered)
            doctor_guesses(list, session.config.runtime);
        session_close(&session);
    } else {
        check_add(list, "configuration", FOUND_TROUBLE, "correct it: man codex.conf", "%s",
                  err.message);
        doctor_guesses(list, "crun");
    }
    doctor_path(list);
    doctor_toolchains(list);
    return list;
}

static void print_check(const json_t *check, bool color, struct buf *out)
{
    const char *status = field_text_or(check, "status", "?");
    bool ok = !strcmp(status, "ok"), warning = !strcmp(status, "warn");
    AUTO_FREE char *name = text_clean(field_text_or(check, "check", "?"));
    size_t width = text_width(name, strlen(name));
    style_append(out, color,
                 ok        ? STYLE_GREEN
                 : warning ? STYLE_YELLOW
                           : STYLE_RED,
                 ok        ? "ok    "
                 : warning ? "warn  "
                           : "FAIL  ");
    buf_append_str(out, name);
    buf_appendf(out, "%*s", width < CHECK_WIDTH ? (int)(CHECK_WIDTH - width) : 1, "");
    append_line(out, field_text_or(check, "detail", ""), SIZE_MAX);
    buf_append_char(out, '\n');
    if (!field_text(check, "remedy") || ok)
        return;
    buf_appendf(out, "%*s-> ", 6 + CHECK_WIDTH, "");
    append_line(out, field_text(check, "remedy"), SIZE_MAX);
    buf_append_char(out, '\n');
}

static int print_server_pid(struct err *err)
{
    struct session session;
    int status = session_open(&session, err);
    if (status < 0)
        return status;
    pid_t pid = session_server_pid(&session);
    if (pid > 0)
        printf("%d\n", (int)pid);
    else
        status = err_set(err, ERR_NO_SERVER, "no codexd serves '%s'", session.paths.state);
    session_close(&session);
    return status;
}

static int run_doctor(const void *arg, const char *const *arguments, int count, struct err *err)
{
    const struct doctor_options *options = arg;
    if (options->server_pid)
        return print_server_pid(err);
    json_t *list = examine(options->offline), *check;
    bool healthy = true, color = terminal_has_color();
    size_t i;
    AUTO_BUF struct buf out;
    buf_init(&out, 1 << 20);
    json_array_foreach(list, i, check) {
        healthy = healthy && strcmp(field_text_or(check, "status", "?"), "fail") != 0;
        print_check(check, color, &out);
    }
    if (options->common.json)
        json_print(list);
    else
        fputs(out.data, stdout);
    json_decref(list);
    return healthy ? EXIT_OK : EXIT_TASK_FAILED;
}

const struct verb verb_doctor = {
    .name = "doctor",
    .summary = "check all that a task needs, with remedies",
    .arguments = "",
    .examples = "  codex doctor\n"
                "  codex doctor --json | jq '.[] | select(.status == \"fail\")'\n",
    .options = doctor_options,
    .options_size = sizeof(struct doctor_options),
    .run = run_doctor,
};
