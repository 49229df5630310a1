/*
 * Secrets at rest: one file each in a directory of the caller's own, encrypted and authenticated by
 * XChaCha20-Poly1305 (libsodium) with the key in the file `key` beside them, which is made with the
 * first secret. Name and time are authenticated, too: a file that is renamed does not open.
 *
 * That protects whoever gets hold of the files without that key, and nobody else: who can read the
 * whole directory has the secrets.
 *
 *     key             32 random bytes, 0600
 *     NAME.sealed     "CDXSEAL1", 8 bytes that tell the key, 8 bytes of time (milliseconds since
 *                     the epoch, big-endian), 24 of nonce, the encrypted value, 16 of tag
 *
 * For one process: the caller holds a lock. Values are in locked memory, guarded and wiped when they
 * are freed (sodium_malloc); between calls the key's page cannot be read.
 */
#ifndef CODEX_SECRETS_VAULT_H
#define CODEX_SECRETS_VAULT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    VAULT_VALUE_MAX = 4096, /* bytes of a value: the gateway takes no longer key */
    VAULT_SECRETS_MAX = 256,
};

struct vault;

/* DIR is there, and ours. ERR_REFUSED when its key is not the one that its secrets were sealed with,
 * is missing, or may be read by others. */
struct vault *vault_open(const char *dir, struct err *err);
void vault_free(struct vault *vault);

/* Names are config_variable_valid(), the value is 1 to VAULT_VALUE_MAX bytes without NUL. It
 * replaces an earlier one; after a crash there is the old one or the new. */
int vault_set(struct vault *vault, const char *name, const char *value, size_t len,
              struct err *err);

/* *VALUE is NUL-terminated and freed with secret_free(). ERR_NOT_FOUND when there is none of that
 * name; ERR_REFUSED when its file is damaged. */
int vault_get(struct vault *vault, const char *name, char **value, struct err *err);

/* ERR_NOT_FOUND when there is none. */
int vault_remove(struct vault *vault, const char *name, struct err *err);

struct vault_entry {
    char *name;
    int64_t set_ms; /* since the epoch; 0: damaged */
};
struct vault_list { /* by name */
    struct vault_entry entries[VAULT_SECRETS_MAX];
    size_t count;
};
/* Each is opened, so that what is damaged is known. The caller releases, also after a failure. */
int vault_list(struct vault *vault, struct vault_list *out, struct err *err);
void vault_list_release(struct vault_list *list);

/* A copy of LEN bytes in such memory, NUL-terminated; aborts when memory is out. */
char *secret_new(const char *bytes, size_t len);
void secret_free(char *value); /* NULL is fine */

#endif
