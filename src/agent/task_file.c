#include "agent/task_file.h"

#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"

enum {
    TASK_MAX_BYTES = 8 << 20,
    PROMPT_MAX_BYTES = 4 << 20,
    NAME_MAX_BYTES = 512, /* of everything but the prompt and the path */
    PATH_MAX_BYTES = 4095,
};

struct member {
    const char *name;
    const char **out;
    size_t max;
    bool required;
};

static int read_string(const json_t *json, const struct member *member, struct err *err)
{
    const json_t *value = json_object_get(json, member->name);
    if (!value || json_is_null(value))
        return member->required ? err_set(err, ERR_USAGE, "'%s' is missing", member->name) : 0;
    const char *s = json_string_value(value);
    if (!s)
        return err_set(err, ERR_USAGE, "'%s' must be a string", member->name);
    size_t len = json_string_length(value);
    if (!len)
        return err_set(err, ERR_USAGE, "'%s' is empty", member->name);
    if (len > member->max)
        return err_set(err, ERR_USAGE, "'%s' is longer than %zu bytes", member->name, member->max);
    if (member->max <= PATH_MAX_BYTES && !str_is_one_line(s))
        return err_set(err, ERR_USAGE, "'%s' holds a control character", member->name);
    *member->out = s;
    return 0;
}

static int read_ms(const json_t *json, const char *name, int64_t min, int64_t *out, struct err *err)
{
    const json_t *value = json_object_get(json, name);
    if (!value || json_is_null(value))
        return 0;
    enum { DAY_MS = 86400000 };
    json_int_t n = json_is_integer(value) ? json_integer_value(value) : -1;
    if (n < min || n > 30LL * DAY_MS)
        return err_set(err, ERR_USAGE, "'retry.%s' must be a number of milliseconds", name);
    *out = n;
    return 0;
}

static int read_retry(const json_t *json, struct retry_limits *limits, struct err *err)
{
    *limits = retry_defaults;
    const json_t *retry = json_object_get(json, "retry");
    if (!retry || json_is_null(retry))
        return 0;
    if (!json_is_object(retry))
        return err_set(err, ERR_USAGE, "'retry' must be an object");
    const struct {
        const char *name;
        int64_t least, *out;
    } members[] = {
        {"base_ms", 1, &limits->base_ms},
        {"max_ms", 1, &limits->max_ms},
        {"give_up_ms", 0, &limits->give_up_ms},
        {"first_contact_ms", 0, &limits->first_contact_ms},
        {"first_byte_timeout_ms", 1, &limits->first_byte_timeout_ms},
        {"idle_timeout_ms", 1, &limits->idle_timeout_ms},
    };
    int status = 0;
    for (size_t i = 0; status == 0 && i < sizeof members / sizeof members[0]; i++)
        status = read_ms(retry, members[i].name, members[i].least, members[i].out, err);
    return status;
}

static int read_members(struct agent_task *task, struct err *err)
{
    const char *wire_api = "responses";
    const struct member members[] = {
        {"task", &task->task, NAME_MAX_BYTES, true},
        {"prompt", &task->prompt, PROMPT_MAX_BYTES, true},
        {"workdir", &task->workdir, PATH_MAX_BYTES, true},
        {"model", &task->model, NAME_MAX_BYTES, true},
        {"wire_api", &wire_api, NAME_MAX_BYTES, false},
        {"effort", &task->effort, NAME_MAX_BYTES, false},
        {"base_url", &task->base_url, NAME_MAX_BYTES, true},
        {"api_key", &task->api_key, NAME_MAX_BYTES, true},
        {"base", &task->base, NAME_MAX_BYTES, false},
        {"base_commit", &task->base_commit, NAME_MAX_BYTES, false},
        {"internet", &task->internet, NAME_MAX_BYTES, false},
    };
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        int status = read_string(task->json, &members[i], err);
        if (status < 0)
            return status;
    }
    if (task->workdir[0] != '/')
        return err_set(err, ERR_USAGE, "'workdir' must be an absolute path");
    task->provider = provider_find(wire_api);
    if (!task->provider)
        return err_set(err, ERR_USAGE,
                       "'wire_api' is '%s', which is none of responses, chat and "
                       "messages",
                       wire_api);
    return read_retry(task->json, &task->retry, err);
}

int agent_task_read(struct agent_task *task, int fd, struct err *err)
{
    *task = (struct agent_task){0};
    AUTO_BUF struct buf text;
    buf_init(&text, TASK_MAX_BYTES);
    lseek(fd, 0, SEEK_SET); /* an earlier step may have read the same open file; a pipe has none */
    if (io_read_all(fd, &text, err) < 0)
        return err_context(err, "task.json");
    json_error_t error;
    task->json = json_loadb(text.data, text.len, 0, &error);
    int status = 0;
    if (!task->json)
        status = err_set(err, ERR_USAGE, "line %d: %s", error.line, error.text);
    else if (!json_is_object(task->json))
        status = err_set(err, ERR_USAGE, "not a JSON object");
    if (status == 0)
        status = read_members(task, err);
    return status < 0 ? err_context(err, "task.json") : 0;
}

void agent_task_release(struct agent_task *task)
{
    json_decref(task->json);
    *task = (struct agent_task){0};
}
