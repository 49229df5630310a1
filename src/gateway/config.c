#include "gateway/config.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "task/task.h"

enum {
    CONFIG_MAX_BYTES = 1 << 20,
    TEXT_MAX = 8192,
    SANDBOX_KEY_MIN = 16,
};
static const int64_t tokens_max = INT64_C(1) << 53;
static const int64_t timeout_max_ms = INT64_C(24) * 3600 * 1000;

/* A member that is a string of MIN to MAX plain bytes into *OUT; NULL or missing allowed when MIN
 * is 0. */
static int take_text(const json_t *root, const char *name, size_t min, size_t max, char **out,
                     struct err *err)
{
    const json_t *value = json_object_get(root, name);
    if (min == 0 && (!value || json_is_null(value)))
        return 0;
    const char *text = json_string_value(value);
    if (!text || strlen(text) < min || strlen(text) > max || !str_is_plain(text))
        return err_set(err, ERR_USAGE,
                       "'%s' must be a string of %zu to %zu printable ASCII characters", name, min,
                       max);
    *out = str_dup(text);
    return 0;
}

static int take_integer(const json_t *root, const char *name, int64_t min, int64_t max,
                        int64_t *out, struct err *err)
{
    const json_t *value = json_object_get(root, name);
    int64_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < min || n > max)
        return err_set(err, ERR_USAGE, "'%s' must be a whole number from %lld to %lld", name,
                       (long long)min, (long long)max);
    *out = n;
    return 0;
}

/* Printable ASCII, without a space at either end: what a header's value may be. */
static bool is_value(const char *s)
{
    size_t len = strlen(s);
    for (size_t i = 0; i < len; i++)
        if (s[i] < ' ' || s[i] >= 0x7f)
            return false;
    return len && len <= TEXT_MAX && s[0] != ' ' && s[len - 1] != ' ';
}

/* A token of HTTP (RFC 9110), as far as it is unreserved in a URL too. */
static bool is_name(const char *s)
{
    return *s && strlen(s) <= 128 &&
           !s[strspn(s, "abcdefghijklmnopqrstuvwxyz"
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")];
}

/* A member that is an object of strings, into PAIRS of at most MAX. May be missing or null. */
static int take_pairs(const json_t *root, const char *member, struct config_pair *pairs, size_t max,
                      size_t *count, struct err *err)
{
    json_t *object = json_object_get(root, member);
    const char *name;
    json_t *value;
    if (object && !json_is_null(object) &&
        (!json_is_object(object) || json_object_size(object) > max))
        return err_set(err, ERR_USAGE, "'%s' must be an object of at most %zu members", member,
                       max);
    json_object_foreach(object, name, value) {
        const char *text = json_string_value(value);
        if (!is_name(name) || !text || !is_value(text))
            return err_set(err, ERR_USAGE, "'%s' has a member that cannot be one", member);
        pairs[(*count)++] = (struct config_pair){str_dup(name), str_dup(text)};
    }
    return 0;
}

static int take_secrets(struct gateway_config *config, const json_t *root, struct err *err)
{
    const json_t *list = json_object_get(root, "secrets");
    size_t i;
    json_t *value;
    if (json_array_size(list) > CONFIG_SECRETS_MAX)
        return err_set(err, ERR_USAGE, "'secrets' has more than %d elements", CONFIG_SECRETS_MAX);
    json_array_foreach(list, i, value) {
        size_t len = json_string_length(value);
        if (len < 1 || len > CONFIG_SECRET_MAX)
            return err_set(err, ERR_USAGE, "'secrets' has an element that cannot be one");
        config->secrets[config->secrets_count++] = str_dup(json_string_value(value));
    }
    return 0;
}

static int take_address(struct gateway_config *config, const json_t *root, struct err *err)
{
    int status = take_text(root, "base_url", 1, TEXT_MAX, &config->base_url, err);
    if (status < 0)
        return status;
    size_t len = strlen(config->base_url);
    while (len && config->base_url[len - 1] == '/')
        config->base_url[--len] = '\0';
    status = take_text(root, "key", 0, CONFIG_SECRET_MAX, &config->key, err);
    if (status == 0)
        status = take_pairs(root, "headers", config->headers, CONFIG_HEADERS_MAX,
                            &config->headers_count, err);
    if (status == 0)
        status =
            take_pairs(root, "query", config->query, CONFIG_QUERY_MAX, &config->query_count, err);
    return status < 0 ? status : take_secrets(config, root, err);
}

static int take_wire(struct gateway_config *config, const json_t *root, struct err *err)
{
    AUTO_FREE char *wire = NULL;
    int status = take_text(root, "wire_api", 1, TEXT_MAX, &wire, err);
    if (status < 0)
        return status;
    if (!strcmp(wire, "none"))
        return 0;
    config->is_replay = !strcmp(wire, "replay");
    config->wire = wire_find(config->is_replay ? "responses" : wire);
    if (!config->wire)
        return err_set(err, ERR_USAGE,
                       "'wire_api' must be responses, chat, messages, replay or none, not '%s'",
                       wire);
    return config->is_replay ? 0 : take_address(config, root, err);
}

/* What belongs to a model. */
static int take_model(struct gateway_config *config, const json_t *root, struct err *err)
{
    int status = take_text(root, "model", 1, TASK_MODEL_MAX, &config->model, err);
    if (status == 0)
        status =
            take_text(root, "sandbox_key", SANDBOX_KEY_MIN, TEXT_MAX, &config->sandbox_key, err);
    if (status == 0)
        status = take_integer(root, "used_tokens", 0, tokens_max, &config->used_tokens, err);
    if (status == 0)
        status = take_integer(root, "first_byte_timeout_ms", 1, timeout_max_ms,
                              &config->first_byte_timeout_ms, err);
    if (status == 0)
        status =
            take_integer(root, "idle_timeout_ms", 1, timeout_max_ms, &config->idle_timeout_ms, err);
    const json_t *budget = json_object_get(root, "budget_tokens");
    config->has_budget = budget && !json_is_null(budget);
    if (status == 0 && config->has_budget)
        status = take_integer(root, "budget_tokens", 0, tokens_max, &config->budget_tokens, err);
    return status;
}

static int take_members(struct gateway_config *config, const json_t *root, struct err *err)
{
    int status = take_text(root, "task", 1, TEXT_MAX, &config->task, err);
    if (status == 0)
        status = take_wire(config, root, err);
    if (status == 0 && config->wire)
        status = take_model(config, root, err);
    if (status == 0)
        status = egress_policy_read(&config->internet, json_object_get(root, "internet"), err);
    config->repository_narrows = json_is_true(json_object_get(root, "repository_narrows"));
    return status;
}

int gateway_config_read(struct gateway_config *config, int fd, struct err *err)
{
    *config = (struct gateway_config){0};
    AUTO_BUF struct buf text;
    buf_init(&text, CONFIG_MAX_BYTES);
    /* The position is shared with whoever passed FD on: a gateway that was here before has moved
     * it. */
    lseek(fd, 0, SEEK_SET);
    int status = io_read_all(fd, &text, err);
    if (status < 0)
        return err_context(err, "gateway.json");
    json_error_t why;
    json_t *root = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, &why);
    explicit_bzero(text.data, text.len);
    if (!json_is_object(root))
        status = err_set(err, ERR_USAGE, "not a JSON object: %s", root ? "another type" : why.text);
    else
        status = take_members(config, root, err);
    json_decref(root);
    if (status < 0) {
        gateway_config_release(config);
        return err_context(err, "gateway.json");
    }
    return 0;
}

bool gateway_config_has_header(const struct gateway_config *config, const char *name)
{
    for (size_t i = 0; i < config->headers_count; i++)
        if (!strcasecmp(name, config->headers[i].name))
            return true;
    return false;
}

static void free_pairs(struct config_pair *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(pairs[i].name);
        free(pairs[i].value);
    }
}

void gateway_config_release(struct gateway_config *config)
{
    free_pairs(config->headers, config->headers_count);
    free_pairs(config->query, config->query_count);
    for (size_t i = 0; i < config->secrets_count; i++)
        free(config->secrets[i]);
    free(config->task);
    free(config->base_url);
    free(config->key);
    free(config->model);
    free(config->sandbox_key);
    egress_policy_release(&config->internet);
    *config = (struct gateway_config){0};
}
