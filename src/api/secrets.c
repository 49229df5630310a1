/*
 * GET /v1/secrets, PUT and DELETE /v1/secrets/{name}: for root and for the server's own user alone.
 * Whoever else may use the server has its keys used, but neither sees which there are nor puts one
 * of his own in their place.
 */
#include "api/request.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json_text.h"
#include "base/log.h"

static bool may(struct request *request)
{
    if (request->uid == 0 || request->uid == getuid())
        return true;
    answer_problem(request, MHD_HTTP_FORBIDDEN, "forbidden",
                   "the server's secrets are root's: use sudo");
    return false;
}

static bool has_name(struct request *request)
{
    if (request->secret[0])
        return true;
    answer_problem(request, MHD_HTTP_BAD_REQUEST, "bad_request",
                   "that is not the name of a secret: letters, digits and '_', at most 64");
    return false;
}

/* The part of the configuration that uses the secret NAME. */
static void append_users(const struct config *config, const char *name, struct buf *out)
{
    const char *comma = "";
    buf_append_char(out, '[');
    for (size_t i = 0; i < config->providers_count; i++) {
        const struct config_provider *provider = &config->providers[i];
        if (!provider->env_key || strcmp(provider->env_key, name))
            continue;
        buf_appendf(out, "%s\"provider %s\"", comma, provider->name);
        comma = ",";
    }
    for (size_t i = 0; i < config->forges_count; i++) {
        const struct config_forge *forge = &config->forges[i];
        if (!forge->token_env || strcmp(forge->token_env, name))
            continue;
        buf_appendf(out, "%s\"forge %s\"", comma, forge->name);
        comma = ",";
    }
    buf_append_char(out, ']');
}

/* Names of sections and of secrets need no escapes (src/config). */
static void append_secret(const struct config *config, const struct vault_entry *entry,
                          struct buf *out)
{
    char set_at[CLOCK_RFC3339_SIZE];
    clock_rfc3339(entry->set_ms, set_at);
    buf_appendf(out, "{\"name\":\"%s\",\"set_at\":", entry->name);
    json_text_cstring(out, entry->set_ms ? set_at : NULL);
    buf_append_str(out, ",\"used_by\":");
    append_users(config, entry->name, out);
    buf_append_char(out, '}');
}

/* One of NAME, or with NULL the array of all; the caller releases OUT. */
static int append_secrets(struct api *api, const char *name, struct buf *out, struct err *err)
{
    struct vault_list list;
    int status = vault_list(api->options.secrets->vault, &list, err);
    if (!name)
        buf_append_char(out, '[');
    for (size_t i = 0; status == 0 && i < list.count; i++) {
        if (name && strcmp(list.entries[i].name, name))
            continue;
        if (!name && out->len > 1)
            buf_append_char(out, ',');
        append_secret(api->options.config, &list.entries[i], out);
    }
    if (!name)
        buf_append_char(out, ']');
    vault_list_release(&list);
    return status;
}

static void answer_secrets(struct request *request, const char *name)
{
    AUTO_BUF struct buf out;
    struct err err;
    buf_init(&out, ANSWER_MAX);
    if (append_secrets(request->api, name, &out, &err) < 0)
        answer_error(request, &err);
    else
        answer(request, MHD_HTTP_OK, "application/json", &out);
}

void handle_secrets(struct request *request)
{
    if (may(request))
        answer_secrets(request, NULL);
}

void handle_secret_set(struct request *request)
{
    if (!may(request) || !has_name(request))
        return;
    const char *value = request->body.data;
    size_t len = request->body.len;
    struct err err = {0};
    int status = secret_trim(&value, &len, "the value", &err);
    if (status == 0)
        status = vault_set(request->api->options.secrets->vault, request->secret, value, len, &err);
    if (request->body.cap)
        sodium_memzero(request->body.data, request->body.cap);
    if (status < 0) {
        answer_error(request, &err);
        return;
    }
    log_info("-", "secret %s was set by uid %u", request->secret, request->uid);
    answer_secrets(request, request->secret);
}

void handle_secret_remove(struct request *request)
{
    if (!may(request) || !has_name(request))
        return;
    struct err err = {0};
    if (vault_remove(request->api->options.secrets->vault, request->secret, &err) < 0) {
        answer_error(request, &err);
        return;
    }
    log_info("-", "secret %s was removed by uid %u", request->secret, request->uid);
    answer_response(request, MHD_HTTP_NO_CONTENT,
                    MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
}
