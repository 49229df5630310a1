#include "secrets/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "config/reference.h"

enum { REPLAY_MAX = 64 << 20, FORGE_FILE_MAX = 1 << 20 };

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int secret_trim(const char **text, size_t *len, const char *where, struct err *err)
{
    for (; *len && is_space(**text); (*len)--)
        (*text)++;
    while (*len && is_space((*text)[*len - 1]))
        (*len)--;
    if (!*len)
        return err_set(err, ERR_USAGE, "%s is empty", where);
    for (size_t i = 0; i < *len; i++) {
        char one[] = {(*text)[i], '\0'};
        if (!*one || !str_is_plain(one))
            return err_set(err, ERR_USAGE, "%s has characters that no key has", where);
    }
    if (*len > VAULT_VALUE_MAX)
        return err_set(err, ERR_USAGE, "%s is longer than %d bytes", where, VAULT_VALUE_MAX);
    return 0;
}

/* --- the start --- */

static void keep(struct secret_kept *kept, const char *text, size_t len)
{
    struct err err;
    AUTO_FREE char *where =
        str_format("the key in %s", kept->variable ? kept->variable : kept->file);
    if (secret_trim(&text, &len, where, &err) == 0)
        kept->value = secret_new(text, len);
    else
        kept->missing = str_dup(err.message);
}

static struct secret_kept *kept_find(const struct secrets *secrets, const char *variable,
                                     const char *file)
{
    for (size_t i = 0; i < secrets->kept_count; i++) {
        const struct secret_kept *kept = &secrets->kept[i];
        if ((variable && kept->variable && !strcmp(variable, kept->variable)) ||
            (file && kept->file && !strcmp(file, kept->file)))
            return (struct secret_kept *)kept;
    }
    return NULL;
}

static struct secret_kept *kept_add(struct secrets *secrets)
{
    secrets->kept = reallocarray(secrets->kept, secrets->kept_count + 1, sizeof *secrets->kept);
    if (!secrets->kept)
        abort();
    struct secret_kept *kept = &secrets->kept[secrets->kept_count++];
    *kept = (struct secret_kept){0};
    return kept;
}

static void keep_variable(struct secrets *secrets, const char *name)
{
    if (!name || kept_find(secrets, name, NULL))
        return;
    struct secret_kept *kept = kept_add(secrets);
    char *value = getenv(name);
    kept->variable = str_dup(name);
    if (!value) {
        kept->missing = str_format("%s is not set in codexd's environment", name);
        return;
    }
    keep(kept, value, strlen(value));
    sodium_memzero(value, strlen(value));
    unsetenv(name);
}

static void keep_file(struct secrets *secrets, const char *path)
{
    if (!path || kept_find(secrets, NULL, path))
        return;
    struct secret_kept *kept = kept_add(secrets);
    struct err err;
    struct buf bytes;
    buf_init(&bytes, VAULT_VALUE_MAX + 1024); /* a key and white space */
    kept->file = str_dup(path);
    buf_reserve(&bytes, bytes.max); /* it must not move and leave a copy behind */
    if (io_read_file(path, &bytes, &err) < 0)
        kept->missing = str_dup(err.message);
    else
        keep(kept, bytes.data, bytes.len);
    sodium_memzero(bytes.data, bytes.cap);
    buf_release(&bytes);
}

static void keep_references(struct secrets *secrets, const struct config_extras *extras)
{
    for (size_t i = 0; i < extras->count; i++) {
        struct reference_part part;
        const char *at = extras->list[i].value;
        while (reference_next(&at, &part, NULL) > 0) {
            AUTO_FREE char *name = str_format("%.*s", (int)part.len, part.at);
            if (part.kind == REFERENCE_ENV)
                keep_variable(secrets, name);
            else if (part.kind == REFERENCE_FILE)
                keep_file(secrets, name);
        }
    }
}

/* The file at PATH as text. The first that cannot be had is what is missing. */
static char *load_file(struct secret_forge *forge, const char *path)
{
    struct err err = {0};
    struct buf bytes;
    if (!path)
        return NULL;
    buf_init(&bytes, FORGE_FILE_MAX);
    int status = io_read_file(path, &bytes, &err);
    if (status == 0 && memchr(bytes.data, '\0', bytes.len))
        status = err_set(&err, ERR_USAGE, "'%s' is not a text file", path);
    if (status == 0)
        return buf_steal(&bytes, NULL);
    if (!forge->missing)
        forge->missing = str_dup(err.message);
    sodium_memzero(bytes.data, bytes.len);
    buf_release(&bytes);
    return NULL;
}

static void load_forge(struct secrets *secrets, struct secret_forge *out,
                       const struct config_forge *forge)
{
    keep_variable(secrets, forge->token_env);
    keep_file(secrets, forge->token_file);
    out->ssh_key = load_file(out, forge->ssh_key_file);
    out->known_hosts = load_file(out, forge->known_hosts);
    out->ca = load_file(out, forge->ca_file);
}

static int load_replay(struct secret_recording *recording, const char *path, struct err *err)
{
    AUTO_BUF struct buf turns;
    buf_init(&turns, REPLAY_MAX);
    struct err why = {0};
    if (io_read_file(path, &turns, &why) < 0) {
        recording->missing = str_dup(why.message);
        return 0;
    }
    recording->fd = io_memfd("replay", turns.data, turns.len, err);
    return recording->fd < 0 ? recording->fd : 0;
}

int secrets_load(struct secrets *secrets, const struct config *config, struct err *err)
{
    *secrets = (struct secrets){0};
    for (size_t i = 0; i < CONFIG_PROVIDERS_MAX; i++)
        secrets->recordings[i].fd = -1;
    if (sodium_init() < 0)
        return err_set(err, -EIO, "libsodium cannot be used here");
    for (size_t i = 0; i < config->providers_count; i++) {
        const struct config_provider *provider = &config->providers[i];
        keep_variable(secrets, provider->env_key);
        keep_file(secrets, provider->key_file);
        keep_references(secrets, &provider->headers);
        keep_references(secrets, &provider->query);
        if (provider->wire_api == WIRE_REPLAY &&
            load_replay(&secrets->recordings[i], provider->file, err) < 0) {
            secrets_release(secrets);
            return err_context(err, "provider '%s'", provider->name);
        }
    }
    for (size_t i = 0; i < config->forges_count; i++)
        load_forge(secrets, &secrets->forges[i], &config->forges[i]);
    return 0;
}

int secrets_open_vault(struct secrets *secrets, const char *dir, struct err *err)
{
    secrets->vault = vault_open(dir, err);
    return secrets->vault ? 0 : err->code;
}

void secrets_release(struct secrets *secrets)
{
    for (size_t i = 0; i < secrets->kept_count; i++) {
        struct secret_kept *kept = &secrets->kept[i];
        free(kept->variable);
        free(kept->file);
        free(kept->missing);
        secret_free(kept->value);
    }
    free(secrets->kept);
    secrets->kept = NULL;
    secrets->kept_count = 0;
    for (size_t i = 0; i < CONFIG_FORGES_MAX; i++) {
        struct secret_forge *forge = &secrets->forges[i];
        if (forge->ssh_key)
            sodium_memzero(forge->ssh_key, strlen(forge->ssh_key));
        free(forge->ssh_key);
        free(forge->known_hosts);
        free(forge->ca);
        free(forge->missing);
        *forge = (struct secret_forge){0};
    }
    for (size_t i = 0; i < CONFIG_PROVIDERS_MAX; i++) {
        struct secret_recording *recording = &secrets->recordings[i];
        free(recording->missing);
        cleanup_fd(&recording->fd);
        *recording = (struct secret_recording){.fd = -1};
    }
    vault_free(secrets->vault);
    secrets->vault = NULL;
}

/* --- lookup --- */

/* Whether KEPT has it; adds to WHY otherwise. */
static bool take_kept(const struct secret_kept *kept, char **value, struct buf *why)
{
    if (!kept)
        abort(); /* not of the configuration that was loaded */
    if (kept->value) {
        *value = secret_new(kept->value, strlen(kept->value));
        return true;
    }
    buf_appendf(why, "%s%s", why->len ? ", and " : "", kept->missing);
    return false;
}

int secrets_get(const struct secrets *secrets, const char *name, const char *file, char **value,
                struct err *err)
{
    *value = NULL;
    if (name && secrets->vault) {
        int status = vault_get(secrets->vault, name, value, err);
        if (status != ERR_NOT_FOUND)
            return status; /* one that is damaged is not passed over */
    }
    AUTO_BUF struct buf why;
    buf_init(&why, sizeof err->message);
    if (name && take_kept(kept_find(secrets, name, NULL), value, &why))
        return 0;
    if (file && take_kept(kept_find(secrets, NULL, file), value, &why))
        return 0;
    if (!name && !file)
        return 0;
    if (!name)
        return err_set(err, ERR_NOT_FOUND, "%s: set it right and restart codexd", why.data);
    return err_set(err, ERR_NOT_FOUND,
                   "there is no secret %s, and %s: 'codex secret set %s' sets it", name, why.data,
                   name);
}

/* --- providers --- */

static const struct secret_recording *recording_of(const struct secrets *secrets,
                                                   const struct config *config,
                                                   const struct config_provider *provider)
{
    return &secrets->recordings[provider - config->providers];
}

/* What the reference PART stands for joins VALUE, and is remembered. */
static int resolve(const struct secrets *secrets, const struct reference_part *part,
                   struct provider_secrets *keys, struct buf *value, struct err *err)
{
    AUTO_FREE char *name = str_format("%.*s", (int)part->len, part->at);
    bool env = part->kind == REFERENCE_ENV;
    char *text;
    int status = secrets_get(secrets, env ? name : NULL, env ? NULL : name, &text, err);
    if (status < 0)
        return status;
    bool is_secret = strlen(text) >= SECRET_PART_MIN_BYTES;
    if (buf_append(value, text, strlen(text)) < 0)
        status = err_set(err, ERR_USAGE, "a header or parameter is longer than %d bytes",
                         VAULT_VALUE_MAX);
    if (is_secret && keys->parts_count == SECRET_PARTS_MAX)
        status = err_set(err, ERR_USAGE, "there are more than %d references", SECRET_PARTS_MAX);
    else if (is_secret)
        keys->parts[keys->parts_count++] = secret_new(text, strlen(text));
    secret_free(text);
    return status;
}

/* The values of EXTRAS, with what they refer to, into OUT. */
static int expand(const struct secrets *secrets, const struct config_extras *extras,
                  struct provider_secrets *keys, char **out, struct err *err)
{
    int status = 0;
    for (size_t i = 0; status == 0 && i < extras->count; i++) {
        struct buf value;
        struct reference_part part;
        const char *at = extras->list[i].value;
        buf_init(&value, VAULT_VALUE_MAX);
        buf_reserve(&value, value.max); /* it must not move and leave a copy behind */
        while (status == 0 && reference_next(&at, &part, NULL) > 0)
            status = part.kind == REFERENCE_NONE ? buf_append(&value, part.at, part.len)
                                                 : resolve(secrets, &part, keys, &value, err);
        out[i] = secret_new(value.data, value.len);
        sodium_memzero(value.data, value.cap);
        buf_release(&value);
    }
    return status;
}

int secrets_provider(const struct secrets *secrets, const struct config *config,
                     const struct config_provider *provider, struct provider_secrets *out,
                     struct err *err)
{
    *out = (struct provider_secrets){0};
    const struct secret_recording *recording = recording_of(secrets, config, provider);
    if (provider->wire_api == WIRE_REPLAY && recording->missing)
        return err_set(err, ERR_NOT_FOUND, "%s: set it right and restart codexd",
                       recording->missing);
    int status = secrets_get(secrets, provider->env_key, provider->key_file, &out->key, err);
    if (status == 0)
        status = expand(secrets, &provider->headers, out, out->headers, err);
    if (status == 0)
        status = expand(secrets, &provider->query, out, out->query, err);
    if (status < 0)
        provider_secrets_release(out);
    return status;
}

static void free_all(char **values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        secret_free(values[i]);
}

void provider_secrets_release(struct provider_secrets *keys)
{
    secret_free(keys->key);
    free_all(keys->headers, CONFIG_EXTRAS_MAX);
    free_all(keys->query, CONFIG_EXTRAS_MAX);
    free_all(keys->parts, keys->parts_count);
    *keys = (struct provider_secrets){0};
}

int secrets_check_provider(const struct secrets *secrets, const struct config *config,
                           const struct config_provider *provider, struct err *err)
{
    struct provider_secrets keys;
    int status = secrets_provider(secrets, config, provider, &keys, err);
    if (status == 0)
        provider_secrets_release(&keys);
    return status;
}

int secrets_open_replay(const struct secrets *secrets, const struct config *config,
                        const struct config_provider *provider, struct err *err)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", recording_of(secrets, config, provider)->fd);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? err_errno(err, "cannot open the recorded turns") : fd;
}
