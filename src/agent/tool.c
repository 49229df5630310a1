#include "agent/tool.h"

#include <errno.h>
#include <string.h>

/* The argument NAME in OUT; NULL when it is missing or null, which REQUIRED makes an error. */
static int find(const struct tool_call *call, const char *name, bool required, json_t **out,
                struct err *err)
{
    json_t *value = json_object_get(call->arguments, name);
    *out = json_is_null(value) ? NULL : value;
    if (!*out && required)
        return err_set(err, -EINVAL, "'%s' is required", name);
    return 0;
}

int tool_arg_string(const struct tool_call *call, const char *name, bool required, const char **out,
                    struct err *err)
{
    json_t *value;
    int status = find(call, name, required, &value, err);
    if (status < 0 || !value)
        return status;
    if (!json_is_string(value))
        return err_set(err, -EINVAL, "'%s' must be a string", name);
    if (strlen(json_string_value(value)) != json_string_length(value))
        return err_set(err, -EINVAL, "'%s' must not hold a NUL character", name);
    *out = json_string_value(value);
    return 0;
}

/* Models write 5000 as 5000.0 now and then. */
static bool whole_number(const json_t *value, int64_t *out)
{
    if (json_is_integer(value)) {
        *out = json_integer_value(value);
        return true;
    }
    double number = json_real_value(value);
    if (!json_is_real(value) || number < -1e15 || number > 1e15)
        return false;
    *out = (int64_t)number;
    return (double)*out == number;
}

int tool_arg_int(const struct tool_call *call, const char *name, bool required, int64_t min,
                 int64_t max, int64_t *out, struct err *err)
{
    json_t *value;
    int status = find(call, name, required, &value, err);
    if (status < 0 || !value)
        return status;
    int64_t number;
    if (!whole_number(value, &number))
        return err_set(err, -EINVAL, "'%s' must be a whole number", name);
    if (number < min || number > max)
        return err_set(err, -EINVAL, "'%s' must be between %lld and %lld", name, (long long)min,
                       (long long)max);
    *out = number;
    return 0;
}

int tool_arg_bool(const struct tool_call *call, const char *name, bool required, bool *out,
                  struct err *err)
{
    json_t *value;
    int status = find(call, name, required, &value, err);
    if (status < 0 || !value)
        return status;
    if (!json_is_boolean(value))
        return err_set(err, -EINVAL, "'%s' must be true or false", name);
    *out = json_is_true(value);
    return 0;
}
