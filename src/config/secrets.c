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
    FORGE_FILE_MAX = 1 << 20,
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

/* The one place where a key or token is looked up: of the two names at most one is set. */
static char *load_key(struct secret *secret, const char *what, const char *env_name,
                      const char *path)
{
    return env_name ? from_environment(secret, what, env_name)
           : path   ? from_file(secret, what, path)
                    : NULL;
}

/* The file at PATH as text. The first that cannot be had is what is missing. */
static char *load_file(struct forge_secret *secret, const char *path)
{
    struct err err = {0};
    struct buf bytes;
    if (!path)
        return NULL;
    buf_init(&bytes, FORGE_FILE_MAX);
    int status = io_read_file(path, &bytes, &err);
    if (status == 0 && memchr(bytes.data, '\0', bytes.len))
        status = err_set(&err, ERR_USAGE, "'%s' is not a text file", path);
    if (status < 0) {
        if (!secret->missing)
            secret->missing = str_dup(err.message);
        explicit_bzero(bytes.data, bytes.len);
        buf_release(&bytes);
        return NULL;
    }
    return buf_steal(&bytes, NULL);
}

static void load_forge(struct forge_secret *secret, const struct config_forge *forge)
{
    *secret = (struct forge_secret){.token.replay_fd = -1};
    secret->token.key = load_key(&secret->token, "token", forge->token_env, forge->token_file);
    secret->ssh_key = load_file(secret, forge->ssh_key_file);
    secret->known_hosts = load_file(secret, forge->known_hosts);
    secret->ca = load_file(secret, forge->ca_file);
}

static void take_from_environment(const char *name)
{
    if (name) {
        wipe(getenv(name));
        unsetenv(name);
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
    for (size_t i = 0; i < CONFIG_FORGES_MAX; i++)
        secrets->forges[i] = (struct forge_secret){.token.replay_fd = -1};
    for (size_t i = 0; i < config->providers_count; i++) {
        const struct config_provider *provider = &config->providers[i];
        struct secret *secret = &secrets->providers[i];
        secret->key = load_key(secret, "key", provider->env_key, provider->key_file);
        expand(secret, &provider->headers, secret->headers);
        expand(secret, &provider->query, secret->query);
        if (provider->wire_api == WIRE_REPLAY && load_replay(secret, provider->file, err) < 0) {
            secrets_release(secrets);
            return err_context(err, "provider '%s'", provider->name);
        }
    }
    for (size_t i = 0; i < config->forges_count; i++)
        load_forge(&secrets->forges[i], &config->forges[i]);
    /* Only now: two of them may name the same variable. */
    for (size_t i = 0; i < config->providers_count; i++) {
        const struct config_provider *provider = &config->providers[i];
        take_from_environment(provider->env_key);
        take_references(&provider->headers);
        take_references(&provider->query);
    }
    for (size_t i = 0; i < config->forges_count; i++)
        take_from_environment(config->forges[i].token_env);
    return 0;
}

static void release(char **values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        wipe(values[i]);
        free(values[i]);
    }
}

static void secret_release(struct secret *secret)
{
    release(&secret->key, 1);
    release(secret->headers, CONFIG_EXTRAS_MAX);
    release(secret->query, CONFIG_EXTRAS_MAX);
    release(secret->parts, SECRET_PARTS_MAX);
    free(secret->missing);
    if (secret->replay_fd >= 0)
        close(secret->replay_fd);
    *secret = (struct secret){.replay_fd = -1};
}

void secrets_release(struct secrets *secrets)
{
    for (size_t i = 0; i < CONFIG_PROVIDERS_MAX; i++)
        secret_release(&secrets->providers[i]);
    for (size_t i = 0; i < CONFIG_FORGES_MAX; i++) {
        struct forge_secret *forge = &secrets->forges[i];
        secret_release(&forge->token);
        wipe(forge->ssh_key);
        free(forge->ssh_key);
        free(forge->known_hosts);
        free(forge->ca);
        free(forge->missing);
        *forge = (struct forge_secret){.token.replay_fd = -1};
    }
}

int secrets_open_replay(const struct secret *secret, struct err *err)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", secret->replay_fd);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? err_errno(err, "cannot open the recorded turns") : fd;
}
