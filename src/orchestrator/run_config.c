#include "orchestrator/run_config.h"

#include <ctype.h>
#include <sha2.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/json_text.h"
#include "base/sandbox_layout.h"
#include "base/str.h"
#include "config/internet.h"
#include "task/gateway_control.h"

enum { TEXT_MAX = 1 << 20, GATEWAY_ROOM = 64 << 10 };

void run_config_sandbox_key(char out[SANDBOX_KEY_SIZE])
{
    static const char prefix[] = "sk-sandbox-";
    memcpy(out, prefix, sizeof prefix);
    str_random_id(out + sizeof prefix - 1, SANDBOX_KEY_SIZE - sizeof prefix);
}

void run_config_repo_name(const char *repo, char out[SPAWN_REPO_SIZE])
{
    size_t end = strlen(repo);
    while (end && repo[end - 1] == '/')
        end--;
    size_t start = end;
    while (start && repo[start - 1] != '/')
        start--;
    if (end - start > 4 && !strncmp(repo + end - 4, ".git", 4))
        end -= 4;
    size_t len = 0;
    for (size_t i = start; i < end && len < SPAWN_REPO_SIZE - 1; i++) {
        char c = repo[i];
        bool harmless = isalnum((unsigned char)c) || c == '_' || c == '-' || (c == '.' && len);
        out[len++] = harmless ? c : '_';
    }
    out[len] = '\0';
    if (!len)
        strcpy(out, "repo");
}

/* Of what a layer's maker puts into it and beside it; another, and older layers are not found. */
static const char layer_format[] = "3";

void run_config_layer(const struct task *task, const struct config *config, const char *modules,
                      char out[SPAWN_LAYER_SIZE])
{
    AUTO_BUF struct buf internet; /* what does not fit was refused at submission */
    buf_init(&internet, CONFIG_INTERNET_JSON_MAX);
    config_internet_json(config, &internet);
    const char *const parts[] = {
        layer_format,
        CODEX_VERSION, /* how dependencies are found and installed */
        task->repo,
        task->base,
        task->base_commit,
        modules,
        config->author_name,
        config->author_email,
        task->setup_command ? task->setup_command : "",
        internet.data, /* what set-up could fetch */
    };
    SHA2_CTX hash;
    SHA256Init(&hash);
    SHA256Update(&hash, (const uint8_t *)&task->uid, sizeof task->uid);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        SHA256Update(&hash, (const uint8_t *)parts[i], strlen(parts[i]) + 1);
    SHA256End(&hash, out);
}

static void text(struct buf *out, const char *name, const char *value)
{
    buf_appendf(out, "%s\"%s\":", out->data[out->len - 1] == '{' ? "" : ",", name);
    json_text_cstring(out, value);
}

static void number(struct buf *out, const char *name, int64_t value)
{
    buf_appendf(out, ",\"%s\":%lld", name, (long long)value);
}

/* TEXT_MAX bounds the whole; what was appended last tells whether all of it fitted. */
static int finish(struct buf *out, const char *name, struct err *err)
{
    if (buf_append_str(out, "}") < 0)
        return err_set(err, ERR_LIMIT, "%s is too large", name);
    return io_memfd(name, out->data, out->len, err);
}

int run_config_task(const struct task *task, const struct config *config,
                    const struct config_provider *provider, const char *sandbox_key,
                    struct err *err)
{
    /* Recorded turns are served on the wire that they were recorded from. */
    enum wire_api wire = provider->wire_api == WIRE_REPLAY ? WIRE_RESPONSES : provider->wire_api;
    char repo[SPAWN_REPO_SIZE];
    run_config_repo_name(task->repo, repo);
    AUTO_BUF struct buf out;
    buf_init(&out, TEXT_MAX);
    buf_append_char(&out, '{');
    text(&out, "task", task->id);
    number(&out, "turn", task->turn);
    number(&out, "attempt", task->attempt);
    number(&out, "run", task->run);
    text(&out, "prompt", task->prompt);
    text(&out, "repo", repo);
    buf_appendf(&out, ",\"workdir\":\"" SANDBOX_WORKSPACE "/%s\"", repo);
    text(&out, "base", task->base);
    text(&out, "base_commit", task->base_commit);
    text(&out, "internet", config->internet);
    text(&out, "test_command", task->test_command);
    text(&out, "setup_command", task->setup_command);
    number(&out, "test_timeout_ms", config->test_timeout_ms);
    text(&out, "wire_api", wire_api_name(wire));
    text(&out, "model", task->model);
    text(&out, "effort", task->effort);
    buf_appendf(&out, ",\"base_url\":\"http://127.0.0.1:%d/v1\"", GATEWAY_MODEL_PORT);
    text(&out, "api_key", sandbox_key);
    buf_append_str(&out, ",\"author\":{");
    text(&out, "name", config->author_name);
    text(&out, "email", config->author_email);
    buf_append_char(&out, '}');
    number(&out, "commit_time", task->created_ms / 1000);
    return finish(&out, "task.json", err);
}

static void extras(struct buf *out, const char *name, const struct config_extras *extras,
                   char *const *values)
{
    buf_appendf(out, ",\"%s\":{", name);
    for (size_t i = 0; i < extras->count; i++)
        text(out, extras->list[i].name, values[i]);
    buf_append_char(out, '}');
}

static void secret_parts(struct buf *out, const struct provider_secrets *keys)
{
    buf_append_str(out, ",\"secrets\":[");
    for (size_t i = 0; i < keys->parts_count; i++) {
        buf_append_str(out, i ? "," : "");
        json_text_cstring(out, keys->parts[i]);
    }
    buf_append_char(out, ']');
}

int run_config_gateway(const struct task *task, const struct config *config,
                       const struct config_provider *provider, const struct provider_secrets *keys,
                       const char *sandbox_key, struct err *err)
{
    struct buf out;
    buf_init(&out, TEXT_MAX);
    buf_reserve(&out, GATEWAY_ROOM); /* growing would leave the key behind */
    buf_append_char(&out, '{');
    text(&out, "task", task->id);
    text(&out, "wire_api", wire_api_name(provider->wire_api));
    text(&out, "base_url", provider->base_url);
    text(&out, "key", keys->key);
    extras(&out, "headers", &provider->headers, keys->headers);
    extras(&out, "query", &provider->query, keys->query);
    secret_parts(&out, keys);
    text(&out, "model", task->model);
    text(&out, "sandbox_key", sandbox_key);
    if (task->budget_tokens)
        number(&out, "budget_tokens", task->budget_tokens);
    else
        buf_append_str(&out, ",\"budget_tokens\":null");
    number(&out, "used_tokens", task->usage.input_tokens + task->usage.output_tokens);
    number(&out, "first_byte_timeout_ms", provider->first_byte_timeout_ms);
    number(&out, "idle_timeout_ms", provider->idle_timeout_ms);
    buf_append_str(&out, ",\"internet\":");
    config_internet_json(config, &out);
    buf_append_str(&out, ",\"repository_narrows\":true");
    int fd = finish(&out, "gateway.json", err);
    explicit_bzero(out.data, out.len); /* it holds the provider's key */
    buf_release(&out);
    return fd;
}
