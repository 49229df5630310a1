/* GET /healthz, GET and POST /v1/doctor: what only the server can see. */
#include "api/request.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/repo_url.h"
#include "base/str.h"
#include "orchestrator/machine.h"

void handle_health(struct request *request)
{
    AUTO_BUF struct buf out;
    buf_init(&out, 256);
    buf_appendf(&out, "{\"status\":\"ok\",\"version\":\"%s\"}", request->api->options.version);
    answer(request, MHD_HTTP_OK, "application/json", &out);
}

static void add(json_t *list, const char *check, bool ok, const char *detail, const char *remedy)
{
    json_array_append_new(list, finding_new(check, ok ? "ok" : "fail", ok ? NULL : remedy, detail));
}

static void check_sandbox(struct api *api, json_t *list)
{
    struct err err = {0};
    bool ok = orchestrator_ready(api->options.orchestrator, &err) == 0;
    add(list, "sandbox", ok, ok ? "runtime, cgroups and disk are in order" : err.message,
        "do what it says, then ask again");
}

/* Whether there is a model that could be asked. */
static bool check_model(struct api *api, json_t *list)
{
    const struct config *config = api->options.config;
    const struct config_provider *provider = config_provider_find(config, config->provider);
    if (!config->model || !provider) {
        add(list, "model", false, "no model is configured",
            "set name and provider in [model] of codex.conf and add its [provider] section");
        return false;
    }
    struct err err = {0};
    bool ok = secrets_check_provider(api->options.secrets, config, provider, &err) == 0;
    AUTO_FREE char *detail =
        str_format("%s from provider '%s' (%s)%s%s", config->model, provider->name,
                   wire_api_name(provider->wire_api), ok ? "" : ": ", ok ? "" : err.message);
    AUTO_FREE char *remedy = provider->env_key
                                 ? str_format("codex secret set %s", provider->env_key)
                                 : str_dup("set it right, and restart codexd");
    add(list, "model", ok, detail, remedy);
    if (provider->env_key) /* the client may have it */
        json_object_set_new(json_array_get(list, json_array_size(list) - 1), "env_key",
                            json_string(provider->env_key));
    return ok;
}

static void check_state(struct api *api, json_t *list)
{
    AUTO_FREE char *detail =
        str_format("%s, as uid %u", api->options.state_dir, (unsigned)getuid());
    add(list, "state", true, detail, NULL);
}

static void on_examined(void *arg, json_t *findings)
{
    struct request *request = arg;
    request->waits_for = NULL;
    json_t *list = json_array();
    check_state(request->api, list);
    check_sandbox(request->api, list);
    check_model(request->api, list);
    json_array_extend(list, findings);
    json_decref(findings);
    AUTO_BUF struct buf out;
    buf_init(&out, ANSWER_MAX);
    AUTO_FREE char *text = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    if (!text)
        abort();
    buf_append_str(&out, text);
    answer(request, MHD_HTTP_OK, "application/json", &out);
}

static void drop_examination(struct request *request)
{
    orchestrator_examine_drop(request->waits_for);
}

static void examine(struct request *request, const struct examine_request *asked)
{
    request->call_off = drop_examination;
    request->waits_for =
        orchestrator_examine(request->api->options.orchestrator, asked, on_examined, request);
}

void handle_doctor(struct request *request)
{
    examine(request, &(struct examine_request){0});
}

/* {"repo":"address"}; nothing at all is fine, too. */
static int read_repository(const json_t *body, const char **repo, struct err *err)
{
    const char *name;
    json_t *value;
    if (!json_is_object(body))
        return err_set(err, ERR_USAGE, "the body is not a JSON object");
    json_object_foreach((json_t *)body, name, value) {
        if (strcmp(name, "repo") != 0)
            return err_set(err, ERR_USAGE, "unknown member '%s'", name);
        *repo = json_string_value(value);
        if (!*repo && !json_is_null(value))
            return err_set(err, ERR_USAGE, "'repo' is not a string");
        if (*repo && !repo_url_is_remote(*repo))
            return err_set(err, ERR_USAGE, "'%s' is not the address of a remote repository", *repo);
    }
    return 0;
}

void handle_doctor_ask(struct request *request)
{
    struct err err = {0};
    json_error_t where;
    json_t *ignored = json_array(), *body = NULL;
    struct examine_request asked = {
        .provider = check_model(request->api, ignored), .forges = true, .uid = request->uid};
    json_decref(ignored);
    if (request->body.len) {
        body = json_loadb(request->body.data, request->body.len, JSON_REJECT_DUPLICATES, &where);
        if (!body)
            err_set(&err, ERR_USAGE, "the body is not JSON: %s", where.text);
        else
            read_repository(body, &asked.repo, &err);
    }
    if (err.code)
        answer_error(request, &err);
    else
        examine(request, &asked);
    json_decref(body);
}
