#include "workspace/environment_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "workspace/scan.h"

/* What the design has, and this version does nothing with. */
static bool is_known(const char *key)
{
    static const char *const keys[] = {"image",    "maintenance", "test", "services",
                                       "internet", "limits",      "user"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (!strcmp(key, keys[i]))
            return true;
    return false;
}

static char *trimmed(const char *from, size_t len)
{
    while (len && strchr(" \t\r", from[len - 1]))
        len--;
    while (len && strchr(" \t", *from)) {
        from++;
        len--;
    }
    return str_format("%.*s", (int)len, from);
}

static int take(struct environment_file *file, int number, const char *key, char *value,
                struct err *err)
{
    if (!strcmp(key, "setup")) {
        if (file->setup_count == ENVIRONMENT_SETUP_MAX)
            return err_set(err, ERR_USAGE, "%s:%d: more than %d lines of setup", ENVIRONMENT_FILE,
                           number, ENVIRONMENT_SETUP_MAX);
        file->setup[file->setup_count++] = str_dup(value);
        return 0;
    }
    if (!is_known(key))
        return err_set(err, ERR_USAGE, "%s:%d: unknown key '%.40s'", ENVIRONMENT_FILE, number, key);
    fprintf(stderr, "%s:%d: '%s' has no effect yet\n", ENVIRONMENT_FILE, number, key);
    return 0;
}

static int take_line(struct environment_file *file, int number, const char *line, size_t len,
                     struct err *err)
{
    AUTO_FREE char *text = trimmed(line, len);
    if (!*text || *text == '#' || *text == ';')
        return 0;
    const char *equals = strchr(text, '=');
    AUTO_FREE char *key = equals ? trimmed(text, (size_t)(equals - text)) : NULL;
    AUTO_FREE char *value = equals ? trimmed(equals + 1, strlen(equals + 1)) : NULL;
    if (!equals || !*key || !*value)
        return err_set(err, ERR_USAGE, "%s:%d: not 'key = value'", ENVIRONMENT_FILE, number);
    return take(file, number, key, value, err);
}

int environment_file_read(const char *dir, struct environment_file *file, struct err *err)
{
    *file = (struct environment_file){0};
    AUTO_BUF struct buf text;
    buf_init(&text, ENVIRONMENT_FILE_MAX);
    if (!scan_read_top(dir, ENVIRONMENT_FILE, &text))
        return 0;
    if (text.len == ENVIRONMENT_FILE_MAX || memchr(text.data, '\0', text.len))
        return err_set(err, ERR_USAGE, "%s: not a text of less than %d bytes", ENVIRONMENT_FILE,
                       ENVIRONMENT_FILE_MAX);
    int number = 0;
    for (const char *line = text.data; *line;) {
        size_t len = strcspn(line, "\n");
        int status = take_line(file, ++number, line, len, err);
        if (status < 0)
            return status;
        line += len + (line[len] == '\n');
    }
    return 1;
}

void environment_file_release(struct environment_file *file)
{
    for (size_t i = 0; i < file->setup_count; i++)
        free(file->setup[i]);
    *file = (struct environment_file){0};
}
