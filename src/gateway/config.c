#include "gateway/config.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "task/task.h"

enum {
    CONFIG_MAX_BYTES = 262144,
    TEXT_MAX = 8192,
    KEY_MAX = 4096,
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

static int take_wire(struct gateway_config *config, const json_t *root, struct err *err)
{
    AUTO_FREE char *wire = NULL;
    int status = take_text(root, "wire_api", 1, TEXT_MAX, &wire, err);
    if (status < 0)
        return status;
    if (!strcmp(wire, "none")) {
        config->wire = GATEWAY_WIRE_NONE;
        return 0;
    }
    if (!strcmp(wire, "replay")) {
        config->wire = GATEWAY_WIRE_REPLAY;
        return 0;
    }
    if (strcmp(wire, "responses"))
        return err_set(err, ERR_USAGE, "'wire_api' must be responses or replay, not '%s'", wire);
    status = take_text(root, "base_url", 1, TEXT_MAX, &config->base_url, err);
    if (status < 0)
        return status;
    size_t len = strlen(config->base_url);
    while (len && config->base_url[len - 1] == '/')
        config->base_url[--len] = '\0';
    return take_text(root, "key", 0, KEY_MAX, &config->key, err);
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
    if (status == 0 && config->wire != GATEWAY_WIRE_NONE)
        status = take_model(config, root, err);
    return status < 0
               ? status
               : egress_policy_read(&config->internet, json_object_get(root, "internet"), err);
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

void gateway_config_release(struct gateway_config *config)
{
    free(config->task);
    free(config->base_url);
    free(config->key);
    free(config->model);
    free(config->sandbox_key);
    egress_policy_release(&config->internet);
    *config = (struct gateway_config){0};
}
