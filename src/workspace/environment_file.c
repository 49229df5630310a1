#include "workspace/environment_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json_text.h"
#include "base/net_rule.h"
#include "base/str.h"
#include "workspace/scan.h"

/* What the design has, and this version does nothing with. */
static const char *const later_keys[] = {"image", "maintenance", "test", "services", "limits"};
enum { LATER_KEYS = sizeof later_keys / sizeof later_keys[0] };

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

static int take_setup(struct environment_file *file, char *value, struct err *err)
{
    if (file->setup_count == ENVIRONMENT_SETUP_MAX)
        return err_set(err, ERR_USAGE, "more than %d lines of setup", ENVIRONMENT_SETUP_MAX);
    file->setup[file->setup_count++] = str_dup(value);
    return 0;
}

static int take_internet(struct environment_file *file, char *value, struct err *err)
{
    static const char *const known[] = {"off", "common", "list", "public"};
    if (file->internet)
        return err_set(err, ERR_USAGE, "'internet' is given twice");
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (!strcmp(value, known[i]))
            file->internet = known[i];
    return file->internet
               ? 0
               : err_set(err, ERR_USAGE, "'internet' must be off, common, list or public");
}

static int take_user(struct environment_file *file, char *value, struct err *err)
{
    if (file->has_user)
        return err_set(err, ERR_USAGE, "'user' is given twice");
    file->has_user = true;
    file->as_root = !strcmp(value, "root");
    return file->as_root || !strcmp(value, "codex")
               ? 0
               : err_set(err, ERR_USAGE, "'user' must be root or codex");
}

/* Rules divided by commas or white space, as in codex.conf. */
static int take_allow(struct environment_file *file, char *value, struct err *err)
{
    for (char *text; (text = strsep(&value, ", \t"));) {
        struct net_rule rule;
        if (!*text)
            continue;
        if (strlen(text) > ENVIRONMENT_RULE_MAX)
            return err_set(err, ERR_USAGE, "a rule of more than %d bytes", ENVIRONMENT_RULE_MAX);
        if (file->allow_count == ENVIRONMENT_RULES_MAX)
            return err_set(err, ERR_USAGE, "more than %d rules", ENVIRONMENT_RULES_MAX);
        int status = net_rule_parse(&rule, text, err);
        net_rule_release(&rule);
        if (status < 0)
            return err_context(err, "'allow'");
        file->allow[file->allow_count++] = str_dup(text);
    }
    return 0;
}

/* Returns 1 when KEY is none. */
static int take_limit(struct environment_file *file, const char *key, const char *value,
                      struct err *err)
{
    for (enum task_limit i = 0; i < TASK_LIMIT_COUNT; i++) {
        if (strcmp(key, task_limit_name(i)) != 0)
            continue;
        if (file->limits.of[i])
            return err_set(err, ERR_USAGE, "'%s' is given twice", key);
        int status = task_limit_parse(i, value, &file->limits.of[i], err);
        return status < 0 ? err_context(err, "'%s'", key) : 0;
    }
    return 1;
}

static int take(struct environment_file *file, int number, const char *key, char *value,
                struct err *err)
{
    static const struct {
        const char *key;
        int (*take)(struct environment_file *file, char *value, struct err *err);
    } keys[] = {{"setup", take_setup},
                {"internet", take_internet},
                {"allow", take_allow},
                {"user", take_user}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (strcmp(key, keys[i].key) != 0)
            continue;
        int status = keys[i].take(file, value, err);
        return status < 0 ? err_context(err, "%s:%d", ENVIRONMENT_FILE, number) : 0;
    }
    int status = take_limit(file, key, value, err);
    if (status <= 0)
        return status < 0 ? err_context(err, "%s:%d", ENVIRONMENT_FILE, number) : 0;
    for (unsigned i = 0; i < LATER_KEYS; i++)
        if (!strcmp(key, later_keys[i])) {
            file->later |= 1U << i;
            return 0;
        }
    return err_set(err, ERR_USAGE, "%s:%d: unknown key '%.40s'", ENVIRONMENT_FILE, number, key);
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

static int take_lines(struct environment_file *file, const char *text, struct err *err)
{
    int number = 0;
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        int status = take_line(file, ++number, line, len, err);
        if (status < 0)
            return status;
        line += len + (line[len] == '\n');
    }
    return 0;
}

int environment_file_read(const char *dir, struct environment_file *file, struct err *err)
{
    *file = (struct environment_file){0};
    AUTO_BUF struct buf text;
    buf_init(&text, ENVIRONMENT_FILE_MAX);
    /* One that cannot be read must not be taken for none: it may narrow something. */
    if (!scan_read_top(dir, ENVIRONMENT_FILE, &text))
        return scan_exists(dir, ENVIRONMENT_FILE)
                   ? err_set(err, ERR_USAGE, "%s: not a regular file of the repository",
                             ENVIRONMENT_FILE)
                   : 0;
    if (text.len == ENVIRONMENT_FILE_MAX || memchr(text.data, '\0', text.len))
        return err_set(err, ERR_USAGE, "%s: not a text of less than %d bytes", ENVIRONMENT_FILE,
                       ENVIRONMENT_FILE_MAX);
    int status = take_lines(file, text.data, err);
    if (status == 0 && file->allow_count &&
        (!file->internet || !strcmp(file->internet, "off") || !strcmp(file->internet, "public")))
        status = err_set(err, ERR_USAGE, "%s: 'allow' needs 'internet = list', or common",
                         ENVIRONMENT_FILE);
    return status < 0 ? status : 1;
}

void environment_file_release(struct environment_file *file)
{
    for (size_t i = 0; i < file->setup_count; i++)
        free(file->setup[i]);
    for (size_t i = 0; i < file->allow_count; i++)
        free(file->allow[i]);
    *file = (struct environment_file){0};
}

void environment_file_say(const struct environment_file *file)
{
    for (unsigned i = 0; i < LATER_KEYS; i++)
        if (file->later & 1U << i)
            fprintf(stderr, "%s: '%s' has no effect yet\n", ENVIRONMENT_FILE, later_keys[i]);
}

void environment_file_internet(const struct environment_file *file, struct buf *out)
{
    if (!file->internet || !strcmp(file->internet, "public")) {
        buf_append_str(out, "null");
        return;
    }
    buf_appendf(out, "{\"access\":\"%s\",\"allow\":[", file->internet);
    for (size_t i = 0; i < file->allow_count; i++) {
        buf_append_str(out, i ? "," : "");
        json_text_cstring(out, file->allow[i]);
    }
    buf_append_str(out, "]}");
}
