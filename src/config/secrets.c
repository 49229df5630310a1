#include "config/secrets.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "config/reference.h"

enum {
    FILE_MAX = 8192, /* with white space around what counts */
    REPLAY_MAX = 64 << 20,
};

static void wipe(char *s)
{
    if (s)
        explicit_bzero(s, strlen(s));
}

/* The first reason counts. */
static void miss(struct secret *secret, char *why)
{
    if (secret->missing)
        free(why);
    else
        secret->missing = why;
}

/* TEXT as something that can stand in an HTTP header; surrounding white space is dropped. NULL: why
 * is noted. WHAT it is for. */
static char *clean(struct secret *secret, const char *text, const char *what, const char *where)
{
    text += strspn(text, " \t\r\n");
    size_t len = strlen(text);
    while (len && strchr(" \t\r\n", text[len - 1]))
        len--;
    char *value = str_format("%.*s", (int)len, text);
    if (len && len <= SECRET_MAX_BYTES && str_is_plain(value))
        return value;
    wipe(value);
    free(value);
    miss(secret,
         !len ? str_format("%s is empty", where)
         : len > SECRET_MAX_BYTES
             ? str_format("the %s in %s is longer than %d bytes", what, where, SECRET_MAX_BYTES)
             : str_format("the %s in %s has characters that no %s has", what, where, what));
    return NULL;
}

static char *from_environment(struct secret *secret, const char *what, const char *name)
{
    const char *value = getenv(name);
    if (value)
        return clean(secret, value, what, name);
    miss(secret, str_format("%s is not set in codexd's environment", name));
    return NULL;
}

static char *from_file(struct secret *secret, const char *what, const char *path)
{
    struct err err = {0};
    struct buf bytes;
    char *value = NULL;
    buf_init(&bytes, FILE_MAX);
    if (io_read_file(path, &bytes, &err) < 0)
        miss(secret, str_dup(err.message));
    else if (memchr(bytes.data, '\0', bytes.len))
        miss(secret, str_format("the %s in %s has characters that no %s has", what, path, what));
    else
        value = clean(secret, bytes.data, what, path);
    explicit_bzero(bytes.data, bytes.len);
    buf_release(&bytes);
    return value;
}

/* What a reference stands for joins OUT, and is remembered. */
static void resolve(struct secret *secret, const struct reference_part *part, struct buf *out)
{
    AUTO_FREE char *name = str_format("%.*s", (int)part->len, part->at);
    char *value = part->kind == REFERENCE_ENV ? from_environment(secret, "value", name)
                                              : from_file(secret, "value", name);
    size_t len = value ? strlen(value) : 0;
    bool is_secret = len >= SECRET_PART_MIN_BYTES;
    if (value && buf_append(out, value, len) < 0)
        miss(secret, str_format("a header or parameter is longer than %d bytes", SECRET_MAX_BYTES));
    if (is_secret && secret->parts_count == SECRET_PARTS_MAX)
        miss(secret, str_format("there are more than %d references", SECRET_PARTS_MAX));
    if (is_secret && secret->parts_count < SECRET_PARTS_MAX) {
        secret->parts[secret->parts_count++] = value;
        return;
    }
    wipe(value);
    free(value);
}

static void expand(struct secret *secret, const struct config_extras *extras, char **out)
{
    for (size_t i = 0; i < extras->count; i++) {
        struct buf value;
        struct reference_part part;
        const char *at = extras->list[i].value;
        buf_init(&value, SECRET_MAX_BYTES);
        while (reference_next(&at, &part, NULL) > 0)
            if (part.kind == REFERENCE_NONE)
                buf_append(&value, part.at, part.len);
            else
                resolve(secret, &part, &value);
        out[i] = buf_steal(&value, NULL);
    }
}

static int load_replay(struct secret *secret, const char *path, struct err *err)
{
    AUTO_BUF struct buf turns;
    buf_init(&turns, REPLAY_MAX);
    struct err why = {0};
    if (io_read_file(path, &turns, &why) < 0) {
        secret->missing = str_dup(why.message);
        return 0;
    }
    secret->replay_fd = io_memfd("replay", turns.data, turns.len, err);
    return secret->replay_fd < 0 ? secret->replay_fd : 0;
}

static void take_from_environment(const char *name)
{
    wipe(getenv(name));
    unsetenv(name);
}

static void take_references(const struct config_extras *extras)
{
    for (size_t i = 0; i < extras->count; i++) {
        struct reference_part part;
        const char *at = extras->list[i].value;
        while (reference_next(&at, &part, NULL) > 0)
            if (part.kind == REFERENCE_ENV) {
                AUTO_FREE char *name = str_format("%.*s", (int)part.len, part.at);
                take_from_environment(name);
            }
    }
}

int secrets_load(struct secrets *secrets, const struct config *config, struct err *err)
{
    for (size_t i = 0; i < CONFIG_PROVIDERS_MAX; i++)
        secrets->providers[i] = (struct secret){.replay_fd = -1};
    for (size_t i = 0; i < config->providers_count; i++) {
        const struct config_provider *provider = &config->providers[i];
        struct secret *secret = &secrets->providers[i];
        if (provider->env_key)
            secret->key = from_environment(secret, "key", provider->env_key);
        else if (provider->key_file)
            secret->key = from_file(secret, "key", provider->key_file);
        expand(secret, &provider->headers, secret->headers);
        expand(secret, &provider->query, secret->query);
        if (provider->wire_api == WIRE_REPLAY && load_replay(secret, provider->file, err) < 0) {
            secrets_release(secrets);
            return err_context(err, "provider '%s'", provider->name);
        }
    }
    /* Only now: two providers may name the same variable. */
    for (size_t i = 0; i < config->providers_count; i++) {
        const struct config_provider *provider = &config->providers[i];
        if (provider->env_key)
            take_from_environment(provider->env_key);
        take_references(&provider->headers);
        take_references(&provider->query);
    }
    return 0;
}

static void release(char **values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        wipe(values[i]);
        free(values[i]);
    }
}

void secrets_release(struct secrets *secrets)
{
    for (size_t i = 0; i < CONFIG_PROVIDERS_MAX; i++) {
        struct secret *secret = &secrets->providers[i];
        release(&secret->key, 1);
        release(secret->headers, CONFIG_EXTRAS_MAX);
        release(secret->query, CONFIG_EXTRAS_MAX);
        release(secret->parts, SECRET_PARTS_MAX);
        free(secret->missing);
        if (secret->replay_fd >= 0)
            close(secret->replay_fd);
        *secret = (struct secret){.replay_fd = -1};
    }
}

int secrets_open_replay(const struct secret *secret, struct err *err)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", secret->replay_fd);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? err_errno(err, "cannot open the recorded turns") : fd;
}
