/* `codex secret set|list|rm`: keys of the server. A value comes from a terminal or standard input,
 * never from the command line, and is never shown. */
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/fields.h"
#include "cli/secret_input.h"
#include "cli/session.h"
#include "cli/table.h"
#include "cli/verb.h"

struct secret_options {
    struct common_options common;
};

enum { ANSWER_MAX = 1 << 20 };

static char *secret_target(const char *name)
{
    return str_format("/v1/secrets/%s", name);
}

static int put(struct session *session, const char *name, const struct buf *value, bool json,
               struct err *err)
{
    AUTO_FREE char *target = secret_target(name);
    AUTO_BUF struct buf answer;
    buf_init(&answer, ANSWER_MAX);
    int status = api_put(&session->api, target, value->data, value->len, &answer, err);
    if (status < 0)
        return status;
    json_t *secret = json_loadb(answer.data, answer.len, 0, NULL);
    if (json)
        json_print(secret);
    else
        printf("%s is set; tasks that start from now on use it\n", name);
    if (!json && json_array_size(json_object_get(secret, "used_by")) == 0)
        fprintf(stderr, "nothing uses it yet: a provider does with env_key = %s in codex.conf\n",
                name);
    json_decref(secret);
    return EXIT_OK;
}

static int set_secret(struct session *session, const char *name, bool json, struct err *err)
{
    struct buf value;
    /* Before anybody types a key for nothing. */
    int status = session_ensure_server(session, err);
    if (status < 0)
        return status;
    status = secret_input_read(name, &value, err);
    if (status == 0)
        status = put(session, name, &value, json, err);
    secret_input_release(&value);
    return status;
}

static void append_users(const json_t *secret, struct buf *out)
{
    const json_t *users = json_object_get(secret, "used_by");
    for (size_t i = 0; i < json_array_size(users); i++) {
        const char *user = json_string_value(json_array_get(users, i));
        buf_appendf(out, "%s%s", i ? ", " : "", user ? user : "?");
    }
}

static void print_secrets(const json_t *list)
{
    static const char *const header[] = {"NAME", "SET", "USED BY"};
    struct table table;
    json_t *secret;
    size_t i;
    table_init(&table, 3, header);
    json_array_foreach((json_t *)list, i, secret) {
        AUTO_BUF struct buf users;
        buf_init(&users, 4096);
        append_users(secret, &users);
        const char *set_at = field_text(secret, "set_at");
        table_add(&table, STYLE_PLAIN, field_text(secret, "name"));
        table_add(&table, set_at ? STYLE_PLAIN : STYLE_RED,
                  set_at ? set_at : "damaged: set it again");
        table_add(&table, users.len ? STYLE_PLAIN : STYLE_DIM, users.len ? users.data : "nothing");
    }
    AUTO_BUF struct buf out;
    buf_init(&out, ANSWER_MAX);
    table_append(&table, terminal_columns(), terminal_has_color(), &out);
    fputs(out.data, stdout);
    table_release(&table);
}

static int list_secrets(struct session *session, bool json, struct err *err)
{
    json_t *list;
    int status = api_json(&session->api, "GET", "/v1/secrets", NULL, &list, err);
    if (status < 0)
        return status;
    if (json)
        json_print(list);
    else if (json_array_size(list))
        print_secrets(list);
    else
        fputs("no secret is set: 'codex secret set NAME' sets one\n", stderr);
    json_decref(list);
    return EXIT_OK;
}

static int remove_secret(struct session *session, const char *name, bool json, struct err *err)
{
    AUTO_FREE char *target = secret_target(name);
    AUTO_BUF struct buf answer;
    buf_init(&answer, ANSWER_MAX);
    int status = api_call(&session->api, "DELETE", target, NULL, &answer, err);
    if (status < 0)
        return status;
    if (json)
        printf("{\"name\":\"%s\",\"removed\":true}\n", name);
    else
        printf("%s is removed\n", name);
    return EXIT_OK;
}

/* What is not a name may be a key that was typed in the wrong place: it is not repeated. */
static int check_words(const char *const *arguments, int count, struct err *err)
{
    const char *what = arguments[0];
    bool list = !strcmp(what, "list"), set = !strcmp(what, "set");
    if (!list && !set && strcmp(what, "rm"))
        return err_set(err, ERR_USAGE, "usage: codex secret %s", verb_secret.arguments);
    if (list)
        return count == 1 ? 0 : err_set(err, ERR_USAGE, "usage: codex secret list");
    if (count < 2)
        return err_set(err, ERR_USAGE, "the name is missing: codex secret %s NAME", what);
    if (set && (count > 2 || strchr(arguments[1], '=')))
        return err_set(err, ERR_USAGE,
                       "the value does not belong on the command line, where others see it: type "
                       "it when asked, or pipe it in (printenv NAME | codex secret set NAME)");
    if (count > 2)
        return err_set(err, ERR_USAGE, "usage: codex secret rm NAME");
    if (!config_variable_valid(arguments[1]))
        return err_set(err, ERR_USAGE,
                       "a name is letters, digits and '_', at most %d of them, and does not begin "
                       "with a digit",
                       CONFIG_VARIABLE_MAX);
    return 0;
}

static int run_secret(const void *arg, const char *const *arguments, int count, struct err *err)
{
    const struct secret_options *options = arg;
    bool json = options->common.json;
    int status = check_words(arguments, count, err);
    if (status < 0)
        return status;
    struct session session;
    status = session_open(&session, err);
    if (status < 0)
        return status;
    if (!strcmp(arguments[0], "set"))
        status = set_secret(&session, arguments[1], json, err);
    else if (!strcmp(arguments[0], "rm"))
        status = remove_secret(&session, arguments[1], json, err);
    else
        status = list_secrets(&session, json, err);
    session_close(&session);
    return status;
}

const struct verb verb_secret = {
    .name = "secret",
    .summary = "set, list and remove the server's keys",
    .arguments = "set NAME | list | rm NAME",
    .examples = "  codex secret set OPENAI_API_KEY\n"
                "  printenv OPENAI_API_KEY | codex secret set OPENAI_API_KEY\n"
                "  codex secret list\n",
    .options_size = sizeof(struct secret_options),
    .arguments_min = 1,
    .arguments_max = -1,
    .run = run_secret,
};
