#include "cli/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/fields.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "cli/verb.h"
#include "cli/words.h"

enum { CHECK_WIDTH = 18 };

struct doctor_options {
    struct common_options common;
    bool server_pid;
};

static const struct option doctor_options[] = {
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
    json_array_append_new(list, json_pack("{s:s,s:b,s:b,s:s,s:s?}", "check", check, "ok",
                                          finding == FOUND_OK, "needed", finding == FOUND_TROUBLE,
                                          "detail", line, "remedy", remedy));
}

/* Nobody serves. Root gets a server with the first task, unless one is expected elsewhere. */
static void no_server(json_t *list, const struct session *session, const struct err *err)
{
    if (err->code == ERR_NO_SERVER && geteuid() == 0 && !session_is_configured(session))
        check_add(list, "server", FOUND_OK, NULL, "none runs; the first task starts one");
    else
        check_add(list, "server", FOUND_TROUBLE,
                  err->code == ERR_NO_SERVER ? "codexd --config FILE, as root" : NULL, "%s",
                  err->message);
}

/* What only the server can tell; all of it is needed. */
static void server_checks(json_t *list, struct session *session)
{
    struct err err;
    json_t *health, *checks, *check;
    size_t i;
    if (api_json(&session->api, "GET", "/healthz", NULL, &health, &err) < 0) {
        no_server(list, session, &err);
        return;
    }
    check_add(list, "server", FOUND_OK, NULL, "version %s answers at '%s'",
              field_text_or(health, "version", "?"), session->api.socket);
    json_decref(health);
    if (api_json(&session->api, "GET", "/v1/doctor", NULL, &checks, &err) < 0) {
        check_add(list, "server's checks", FOUND_TROUBLE, NULL, "%s", err.message);
        return;
    }
    json_array_foreach(checks, i, check)
        check_add(list, field_text_or(check, "check", "?"),
                  field_is_true(check, "ok") ? FOUND_OK : FOUND_TROUBLE,
                  field_text(check, "remedy"), "%s", field_text_or(check, "detail", ""));
    json_decref(checks);
}

/* All checks there are, in the order in which one would look. */
static json_t *examine(void)
{
    json_t *list = json_array();
    struct session session;
    struct err err;
    bool open = session_open(&session, &err) == 0;
    doctor_kernel(list);
    doctor_cgroups(list);
    doctor_programs(list, open ? session.config.runtime : "crun");
    if (open) {
        const char *file = session.paths.config;
        check_add(list, "configuration", file ? FOUND_OK : FOUND_WARNING,
                  file ? NULL : "write /etc/codex/codex.conf: man codex.conf", "%s",
                  file ? file : "there is none: a model has to be named in one");
        doctor_users(list, &session.config);
        doctor_state(list, &session);
        server_checks(list, &session);
        session_close(&session);
    } else {
        check_add(list, "configuration", FOUND_TROUBLE, "correct it: man codex.conf", "%s",
                  err.message);
    }
    doctor_path(list);
    doctor_toolchains(list);
    return list;
}

static void print_check(const json_t *check, bool color, struct buf *out)
{
    bool ok = field_is_true(check, "ok"), needed = field_is_true(check, "needed");
    enum style style = ok ? STYLE_GREEN : needed ? STYLE_RED : STYLE_YELLOW;
    AUTO_FREE char *name = text_clean(field_text_or(check, "check", "?"));
    size_t width = text_width(name, strlen(name));
    style_append(out, color, style, ok ? "ok    " : needed ? "FAIL  " : "note  ");
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
    json_t *list = examine(), *check;
    bool healthy = true, color = terminal_has_color();
    size_t i;
    AUTO_BUF struct buf out;
    buf_init(&out, 1 << 20);
    json_array_foreach(list, i, check) {
        healthy = healthy && (field_is_true(check, "ok") || !field_is_true(check, "needed"));
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
    .summary = "check this machine, with remedies",
    .arguments = "",
    .examples = "  codex doctor\n"
                "  codex doctor --json | jq '.[] | select(.ok | not)'\n",
    .options = doctor_options,
    .options_size = sizeof(struct doctor_options),
    .run = run_doctor,
};
