/* GET /healthz, GET /v1/doctor: what only the server can see. */
#include "api/request.h"

#include <unistd.h>

#include "base/cleanup.h"
#include "base/json_text.h"
#include "base/str.h"

void handle_health(struct request *request)
{
    AUTO_BUF struct buf out;
    buf_init(&out, 256);
    buf_appendf(&out, "{\"status\":\"ok\",\"version\":\"%s\"}", request->api->options.version);
    answer(request, MHD_HTTP_OK, "application/json", &out);
}

static void add_check(struct buf *out, const char *name, bool ok, const char *detail,
                      const char *remedy)
{
    buf_appendf(out, "%s{\"check\":\"%s\",\"ok\":%s,\"detail\":", out->len > 1 ? "," : "", name,
                ok ? "true" : "false");
    json_text_cstring(out, detail);
    buf_append_str(out, ",\"remedy\":");
    json_text_cstring(out, ok ? NULL : remedy);
    buf_append_char(out, '}');
}

static void check_sandbox(struct api *api, struct buf *out)
{
    struct err err = {0};
    bool ok = orchestrator_ready(api->options.orchestrator, &err) == 0;
    add_check(out, "sandbox", ok, ok ? "runtime, cgroups and disk are in order" : err.message,
              "do what it says, then ask again");
}

static void check_model(struct api *api, struct buf *out)
{
    const struct config *config = api->options.config;
    const struct config_provider *provider = config_provider_find(config, config->provider);
    if (!config->model || !provider) {
        add_check(out, "model", false, "no model is configured",
                  "set name and provider in [model] of codex.conf and add its [provider] section");
        return;
    }
    struct err err = {0};
    bool ok = secrets_check_provider(api->options.secrets, config, provider, &err) == 0;
    AUTO_FREE char *detail =
        str_format("%s from provider '%s' (%s)%s%s", config->model, provider->name,
                   wire_api_name(provider->wire_api), ok ? "" : ": ", err.message);
    add_check(out, "model", ok, detail, "set it");
}

static void check_state(struct api *api, struct buf *out)
{
    AUTO_FREE char *detail =
        str_format("%s, as uid %u", api->options.state_dir, (unsigned)getuid());
    add_check(out, "state", true, detail, NULL);
}

void handle_doctor(struct request *request)
{
    AUTO_BUF struct buf out;
    buf_init(&out, 65536);
    buf_append_char(&out, '[');
    check_state(request->api, &out);
    check_sandbox(request->api, &out);
    check_model(request->api, &out);
    buf_append_char(&out, ']');
    answer(request, MHD_HTTP_OK, "application/json", &out);
}
