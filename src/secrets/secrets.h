/*
 * Keys that the server uses towards others (providers of models, forges), and recorded turns.
 *
 * A key has a name, the one of a variable: env_key or token_env in the configuration. It is looked
 * for as a secret of that name (`codex secret set`), then as that variable in codexd's environment,
 * then in a file. Secrets may be set and removed at any time; variables and files are read once, at
 * codexd's start, because only root may be able to read them.
 *
 * sodium_init() is done here; secret_new() and secret_free() (vault.h) need it.
 */
#ifndef CODEX_SECRETS_SECRETS_H
#define CODEX_SECRETS_SECRETS_H

#include "config/config.h"
#include "secrets/vault.h"

enum { SECRET_PARTS_MAX = 8, SECRET_PART_MIN_BYTES = 8 };

/* A variable or a file that the configuration names, as it was at the start. */
struct secret_kept {
    char *variable, *file; /* one of them */
    char *value;           /* NULL: */
    char *missing;         /* why there is none */
};

/* Recorded turns of a provider. */
struct secret_recording {
    int fd;        /* a sealed memory file, or -1 */
    char *missing; /* why there is none though the provider names one */
};

/* Files that say how a forge is reached: their contents. NULL: it names none, or it could not be
 * read, and MISSING says why. Its token is secrets_get()'s. */
struct secret_forge {
    char *ssh_key, *known_hosts, *ca;
    char *missing;
};

struct secrets {
    struct vault *vault; /* NULL: not opened */
    struct secret_kept *kept;
    size_t kept_count;
    struct secret_forge forges[CONFIG_FORGES_MAX];            /* as config->forges */
    struct secret_recording recordings[CONFIG_PROVIDERS_MAX]; /* as config->providers */
};

/* The variables are wiped and taken out of this process's environment. A key or a file that is
 * missing is no error here: it is told when it is needed. */
int secrets_load(struct secrets *secrets, const struct config *config, struct err *err);

/* Once we are the user whose directory DIR is. */
int secrets_open_vault(struct secrets *secrets, const char *dir, struct err *err);

void secrets_release(struct secrets *secrets); /* wipes the keys */

/*
 * The key that is called NAME, or else is in FILE; either may be NULL. *VALUE is the caller's, to be
 * freed with secret_free(); NULL, with 0, when neither names any. ERR_NOT_FOUND when there is none,
 * with what to do about it. A key can stand in an HTTP header. NAME and FILE are among those of the
 * configuration that was loaded.
 */
int secrets_get(const struct secrets *secrets, const char *name, const char *file, char **value,
                struct err *err);

/* The first LEN bytes of TEXT without the white space around them: 0 and where they are, or
 * ERR_USAGE when that is no key: empty, too long, or not str_is_plain(). WHERE is put
 * into the message; the key never is. */
int secret_trim(const char **text, size_t *len, const char *where, struct err *err);

/* Everything secret that the requests to a provider carry. */
struct provider_secrets {
    char *key; /* NULL: none */
    /* Its headers and parameters, in the order of the configuration, without references. */
    char *headers[CONFIG_EXTRAS_MAX], *query[CONFIG_EXTRAS_MAX];
    /* What references stood for, from SECRET_PART_MIN_BYTES on: no answer may repeat it. */
    char *parts[SECRET_PARTS_MAX];
    size_t parts_count;
};

/* Look all of it up for PROVIDER, of CONFIG: ERR_NOT_FOUND or ERR_USAGE with what to do about it,
 * also when its recorded turns are not there. Release OUT after a success. */
int secrets_provider(const struct secrets *secrets, const struct config *config,
                     const struct config_provider *provider, struct provider_secrets *out,
                     struct err *err);
void provider_secrets_release(struct provider_secrets *keys);

/* Whether all is there that PROVIDER, of CONFIG, needs: its key, its recorded turns. */
int secrets_check_provider(const struct secrets *secrets, const struct config *config,
                           const struct config_provider *provider, struct err *err);

/* A new descriptor of PROVIDER's recorded turns, with an offset of its own. */
int secrets_open_replay(const struct secrets *secrets, const struct config *config,
                        const struct config_provider *provider, struct err *err);

#endif
