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

enum {
    SECRET_KEY_MAX = 4096, /* the gateway takes no longer one */
    KEY_MAX = 8192,        /* with white space around it */
    FORGE_FILE_MAX = 1 << 20,
    REPLAY_MAX = 64 << 20,
};

static void wipe(char *s)
{
    if (s)
        explicit_bzero(s, strlen(s));
}

/* Take TEXT as the key if it can stand in an HTTP header; surrounding white space is dropped. */
static void set_key(struct secret *secret, const char *text, const char *where)
{
    text += strspn(text, " \t\r\n");
    size_t len = strlen(text);
    while (len && strchr(" \t\r\n", text[len - 1]))
        len--;
    char *key = str_format("%.*s", (int)len, text);
    if (len && len <= SECRET_KEY_MAX && str_is_plain(key)) {
        secret->key = key;
        return;
    }
    wipe(key);
    free(key);
    secret->missing =
        !len ? str_format("%s is empty", where)
        : len > SECRET_KEY_MAX
            ? str_format("the key in %s is longer than %d bytes", where, SECRET_KEY_MAX)
            : str_format("the key in %s has characters that no key has", where);
}

static void key_from_environment(struct secret *secret, const char *name)
{
    char *value = getenv(name);
    if (value)
        set_key(secret, value, name);
    else
        secret->missing = str_format("%s is not set in codexd's environment", name);
}

static void key_from_file(struct secret *secret, const char *path)
{
    struct err err = {0};
    struct buf bytes;
    buf_init(&bytes, KEY_MAX);
    if (io_read_file(path, &bytes, &err) < 0)
        secret->missing = str_dup(err.message);
    else if (memchr(bytes.data, '\0', bytes.len))
        secret->missing = str_format("the key in %s has characters that no key has", path);
    else
        set_key(secret, bytes.data, path);
    explicit_bzero(bytes.data, bytes.len);
    buf_release(&bytes);
}

/* The one place where a key or token is looked up: of the two names at most one is set. */
static void load_key(struct secret *secret, const char *env_name, const char *path)
{
    if (env_name)
        key_from_environment(secret, env_name);
    else if (path)
        key_from_file(secret, path);
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
    load_key(&secret->token, forge->token_env, forge->token_file);
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

int secrets_load(struct secrets *secrets, const struct config *config, struct err *err)
{
    for (size_t i = 0; i < CONFIG_PROVIDERS_MAX; i++)
        secrets->providers[i] = (struct secret){.replay_fd = -1};
    for (size_t i = 0; i < CONFIG_FORGES_MAX; i++)
        secrets->forges[i] = (struct forge_secret){.token.replay_fd = -1};
    for (size_t i = 0; i < config->providers_count; i++) {
        const struct config_provider *provider = &config->providers[i];
        struct secret *secret = &secrets->providers[i];
        load_key(secret, provider->env_key, provider->key_file);
        if (provider->wire_api == WIRE_REPLAY && load_replay(secret, provider->file, err) < 0) {
            secrets_release(secrets);
            return err_context(err, "provider '%s'", provider->name);
        }
    }
    for (size_t i = 0; i < config->forges_count; i++)
        load_forge(&secrets->forges[i], &config->forges[i]);
    /* Only now: two of them may name the same variable. */
    for (size_t i = 0; i < config->providers_count; i++)
        take_from_environment(config->providers[i].env_key);
    for (size_t i = 0; i < config->forges_count; i++)
        take_from_environment(config->forges[i].token_env);
    return 0;
}

static void secret_release(struct secret *secret)
{
    wipe(secret->key);
    free(secret->key);
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
