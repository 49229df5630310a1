#include "cli/fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

const json_t *field_at(const json_t *object, const char *path)
{
    char name[64];
    while (object && *path) {
        size_t len = strcspn(path, ".");
        if (len >= sizeof name)
            return NULL;
        memcpy(name, path, len);
        name[len] = '\0';
        object = json_object_get(object, name);
        path += path[len] ? len + 1 : len;
    }
    return json_is_null(object) ? NULL : object;
}

const char *field_text(const json_t *object, const char *path)
{
    return json_string_value(field_at(object, path));
}

const char *field_text_or(const json_t *object, const char *path, const char *otherwise)
{
    const char *text = field_text(object, path);
    return text ? text : otherwise;
}

int64_t field_int(const json_t *object, const char *path, int64_t otherwise)
{
    const json_t *value = field_at(object, path);
    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

bool field_is_true(const json_t *object, const char *path)
{
    return json_is_true(field_at(object, path));
}

int64_t field_time(const json_t *object, const char *path)
{
    const char *text = field_text(object, path);
    return text ? clock_parse_rfc3339(text) : -1;
}

void json_print(const json_t *value)
{
    size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | (isatty(STDOUT_FILENO) ? JSON_ENSURE_ASCII : 0);
    char *text = json_dumps(value, flags);
    if (!text)
        abort();
    puts(text);
    free(text);
}
