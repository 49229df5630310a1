#include "config/reference.h"

#include <string.h>

#include "base/str.h"

static int take_reference(const char **value, struct reference_part *part, struct err *err)
{
    const char *end = strchr(*value, '}');
    const char *name = *value + 2;
    bool is_env = str_starts_with(name, "env:"), is_file = str_starts_with(name, "file:/");
    name += is_env ? strlen("env:") : strlen("file:");
    if (!end || (!is_env && !is_file) || end <= name)
        return err_set(err, ERR_USAGE, "write ${env:NAME} or ${file:/path} at '%s'", *value);
    *part = (struct reference_part){is_env ? REFERENCE_ENV : REFERENCE_FILE, name,
                                    (size_t)(end - name)};
    *value = end + 1;
    return 1;
}

int reference_next(const char **value, struct reference_part *part, struct err *err)
{
    if (!**value)
        return 0;
    if (str_starts_with(*value, "${"))
        return take_reference(value, part, err);
    const char *next = strstr(*value, "${");
    size_t len = next ? (size_t)(next - *value) : strlen(*value);
    *part = (struct reference_part){REFERENCE_NONE, *value, len};
    *value += len;
    return 1;
}
