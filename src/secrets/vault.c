#include "secrets/vault.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/str.h"
#include "config/config.h"

enum {
    KEY_BYTES = crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
    NONCE_BYTES = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    TAG_BYTES = crypto_aead_xchacha20poly1305_ietf_ABYTES,
    KEY_ID_BYTES = 8,
    FILE_NAME_SIZE = CONFIG_VARIABLE_MAX + sizeof ".sealed",
};

static const char magic[8] = {'C', 'D', 'X', 'S', 'E', 'A', 'L', '1'};

/* What a file begins with. Behind it: the encrypted value and its tag. */
struct header {
    char magic[sizeof magic];
    unsigned char key_id[KEY_ID_BYTES];
    uint64_t set_ms; /* big-endian */
    unsigned char nonce[NONCE_BYTES];
};
_Static_assert(sizeof(struct header) == 48, "the layout of a file");

enum { FILE_MAX = sizeof(struct header) + VAULT_VALUE_MAX + TAG_BYTES };

struct vault {
    char *dir;
    int dir_fd;
    unsigned char *key; /* sodium_malloc; NULL: none yet */
    unsigned char key_id[KEY_ID_BYTES];
};

/* --- values --- */

char *secret_new(const char *bytes, size_t len)
{
    char *value = sodium_malloc(len + 1);
    if (!value)
        abort();
    memcpy(value, bytes, len);
    value[len] = '\0';
    return value;
}

void secret_free(char *value)
{
    sodium_free(value);
}

/* --- the key --- */

static void take_key(struct vault *vault, const unsigned char *bytes)
{
    static const unsigned char purpose[] = "codex: which key";
    vault->key = sodium_malloc(KEY_BYTES);
    if (!vault->key)
        abort();
    memcpy(vault->key, bytes, KEY_BYTES);
    unsigned char hash[crypto_generichash_BYTES];
    crypto_generichash(hash, sizeof hash, purpose, sizeof purpose, vault->key, KEY_BYTES);
    memcpy(vault->key_id, hash, KEY_ID_BYTES);
    sodium_mprotect_noaccess(vault->key);
}

/* Nobody but us may be able to read or to change it. */
static int check_key_file(const struct vault *vault, int fd, struct err *err)
{
    struct stat info;
    if (fstat(fd, &info) < 0)
        return err_errno(err, "cannot inspect '%s/key'", vault->dir);
    if (!S_ISREG(info.st_mode) || info.st_uid != geteuid())
        return err_set(err, ERR_REFUSED, "'%s/key' is not a file of uid %u", vault->dir,
                       (unsigned)geteuid());
    if (info.st_mode & 077)
        return err_set(err, ERR_REFUSED,
                       "'%s/key' may be read by others: chmod 600 it, and set the secrets anew if "
                       "somebody may have",
                       vault->dir);
    if (info.st_size != KEY_BYTES)
        return err_set(err, ERR_REFUSED,
                       "'%s/key' is no key of secrets (%lld bytes, not %d): restore the one that "
                       "they were set with, or remove '%s' and set them anew",
                       vault->dir, (long long)info.st_size, KEY_BYTES, vault->dir);
    return 0;
}

/* 0 also when there is none. */
static int load_key(struct vault *vault, struct err *err)
{
    AUTO_FD int fd = openat(vault->dir_fd, "key", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_errno(err, "cannot open '%s/key'", vault->dir);
    int status = check_key_file(vault, fd, err);
    if (status < 0)
        return status;
    unsigned char bytes[KEY_BYTES];
    if (read(fd, bytes, sizeof bytes) != (ssize_t)sizeof bytes)
        return err_set(err, -EIO, "cannot read '%s/key'", vault->dir);
    take_key(vault, bytes);
    sodium_memzero(bytes, sizeof bytes);
    return 0;
}

static int make_key(struct vault *vault, struct err *err)
{
    unsigned char bytes[KEY_BYTES];
    randombytes_buf(bytes, sizeof bytes);
    int status = io_replace_file_at(vault->dir_fd, "key", bytes, sizeof bytes, 0600, err);
    if (status == 0)
        take_key(vault, bytes);
    sodium_memzero(bytes, sizeof bytes);
    return status;
}

/* --- files --- */

static void file_name(char out[FILE_NAME_SIZE], const char *name)
{
    stpcpy(stpcpy(out, name), ".sealed");
}

/* What is authenticated beside the value. Returns its length. */
static size_t associate(const struct header *header, const char *name,
                        unsigned char out[sizeof(struct header) + CONFIG_VARIABLE_MAX])
{
    size_t len = strlen(name);
    memcpy(out, header, sizeof *header);
    memcpy(out + sizeof *header, name, len);
    return sizeof *header + len;
}

/* The file of NAME, with its header taken off into HEADER. */
static int read_file(const struct vault *vault, const char *name, struct header *header,
                     struct buf *rest, struct err *err)
{
    char file[FILE_NAME_SIZE];
    file_name(file, name);
    AUTO_FD int fd = openat(vault->dir_fd, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "there is no secret '%s'", name);
    if (fd < 0)
        return err_errno(err, "cannot open '%s/%s'", vault->dir, file);
    int status = io_read_all(fd, rest, err);
    if (status == 0 && rest->len > sizeof *header + TAG_BYTES &&
        !memcmp(rest->data, magic, sizeof magic)) {
        memcpy(header, rest->data, sizeof *header);
        buf_consume(rest, sizeof *header);
        return 0;
    }
    return err_set(err, ERR_REFUSED, "secret '%s' is damaged: set it again", name);
}

static int decrypt(struct vault *vault, const char *name, const struct header *header,
                   const struct buf *sealed, char **value, struct err *err)
{
    unsigned char associated[sizeof(struct header) + CONFIG_VARIABLE_MAX];
    size_t associated_len = associate(header, name, associated);
    size_t len = sealed->len - TAG_BYTES;
    char *out = sodium_malloc(len + 1);
    if (!out)
        abort();
    int status = -1;
    if (vault->key) {
        sodium_mprotect_readonly(vault->key);
        status = crypto_aead_xchacha20poly1305_ietf_decrypt(
            (unsigned char *)out, NULL, NULL, (const unsigned char *)sealed->data, sealed->len,
            associated, associated_len, header->nonce, vault->key);
        sodium_mprotect_noaccess(vault->key);
    }
    out[len] = '\0';
    if (status == 0 && strlen(out) == len) {
        *value = out;
        return 0;
    }
    secret_free(out);
    return err_set(err, ERR_REFUSED, "secret '%s' is damaged: set it again", name);
}

static int open_secret(struct vault *vault, const char *name, char **value, int64_t *set_ms,
                       struct err *err)
{
    AUTO_BUF struct buf sealed;
    struct header header;
    buf_init(&sealed, FILE_MAX);
    *value = NULL;
    int status = read_file(vault, name, &header, &sealed, err);
    if (status == 0)
        status = decrypt(vault, name, &header, &sealed, value, err);
    if (status == 0)
        *set_ms = (int64_t)be64toh(header.set_ms);
    return status;
}

int vault_get(struct vault *vault, const char *name, char **value, struct err *err)
{
    int64_t set_ms;
    return open_secret(vault, name, value, &set_ms, err);
}

static int seal(struct vault *vault, const char *name, const char *value, size_t len,
                struct err *err)
{
    unsigned char file[FILE_MAX], associated[sizeof(struct header) + CONFIG_VARIABLE_MAX];
    struct header header = {.set_ms = htobe64((uint64_t)clock_real_ms())};
    memcpy(header.magic, magic, sizeof magic);
    memcpy(header.key_id, vault->key_id, KEY_ID_BYTES);
    randombytes_buf(header.nonce, sizeof header.nonce);
    size_t associated_len = associate(&header, name, associated);
    memcpy(file, &header, sizeof header);
    unsigned long long sealed_len;
    sodium_mprotect_readonly(vault->key);
    crypto_aead_xchacha20poly1305_ietf_encrypt(file + sizeof header, &sealed_len,
                                               (const unsigned char *)value, len, associated,
                                               associated_len, NULL, header.nonce, vault->key);
    sodium_mprotect_noaccess(vault->key);
    char to[FILE_NAME_SIZE];
    file_name(to, name);
    return io_replace_file_at(vault->dir_fd, to, file, sizeof header + (size_t)sealed_len, 0600,
                              err);
}

/* --- all of them --- */

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct vault_entry *)a)->name, ((const struct vault_entry *)b)->name);
}

static int read_names(const struct vault *vault, struct vault_list *out, struct err *err)
{
    AUTO_FD int fd = openat(vault->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO_DIR DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (!stream)
        return err_errno(err, "cannot read '%s'", vault->dir);
    fd = -1;
    struct dirent *entry;
    while ((entry = readdir(stream))) {
        if (!str_ends_with(entry->d_name, ".sealed"))
            continue;
        size_t len = strlen(entry->d_name) - strlen(".sealed");
        AUTO_FREE char *name = str_format("%.*s", (int)len, entry->d_name);
        if (!config_variable_valid(name))
            continue;
        if (out->count == VAULT_SECRETS_MAX)
            return err_set(err, ERR_LIMIT, "there are more than %d secrets in '%s'",
                           VAULT_SECRETS_MAX, vault->dir);
        out->entries[out->count++].name = steal_pointer(&name);
    }
    qsort(out->entries, out->count, sizeof *out->entries, compare_entries);
    return 0;
}

int vault_list(struct vault *vault, struct vault_list *out, struct err *err)
{
    *out = (struct vault_list){0};
    int status = read_names(vault, out, err);
    for (size_t i = 0; status == 0 && i < out->count; i++) {
        char *value;
        struct err ignored;
        if (open_secret(vault, out->entries[i].name, &value, &out->entries[i].set_ms, &ignored) < 0)
            out->entries[i].set_ms = 0;
        secret_free(value);
    }
    return status;
}

void vault_list_release(struct vault_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->entries[i].name);
    list->count = 0;
}

int vault_set(struct vault *vault, const char *name, const char *value, size_t len, struct err *err)
{
    if (!config_variable_valid(name) || !len || len > VAULT_VALUE_MAX || memchr(value, '\0', len))
        abort(); /* the caller has checked them */
    struct vault_list there = {0};
    int status = read_names(vault, &there, err);
    bool known = false;
    for (size_t i = 0; i < there.count; i++)
        known = known || !strcmp(there.entries[i].name, name);
    if (status == 0 && !known && there.count == VAULT_SECRETS_MAX)
        status = err_set(err, ERR_REFUSED, "there are %d secrets already: remove some",
                         VAULT_SECRETS_MAX);
    vault_list_release(&there);
    if (status == 0 && !vault->key)
        status = make_key(vault, err);
    return status < 0 ? status : seal(vault, name, value, len, err);
}

int vault_remove(struct vault *vault, const char *name, struct err *err)
{
    char file[FILE_NAME_SIZE];
    file_name(file, name);
    if (unlinkat(vault->dir_fd, file, 0) < 0)
        return errno == ENOENT ? err_set(err, ERR_NOT_FOUND, "there is no secret '%s'", name)
                               : err_errno(err, "cannot remove '%s/%s'", vault->dir, file);
    return fsync(vault->dir_fd) < 0 ? err_errno(err, "cannot sync '%s'", vault->dir) : 0;
}

/* Whether the secrets that there are were sealed with this key. One that is damaged says nothing. */
static int check_key(const struct vault *vault, struct err *err)
{
    struct vault_list there = {0};
    int status = read_names(vault, &there, err);
    for (size_t i = 0; status == 0 && i < there.count; i++) {
        const char *name = there.entries[i].name;
        AUTO_BUF struct buf sealed;
        struct header header;
        struct err ignored;
        buf_init(&sealed, FILE_MAX);
        if (!vault->key)
            status = err_set(err, ERR_REFUSED,
                             "there are secrets in '%s', but not their key: restore '%s/key', or "
                             "remove '%s' and set them anew",
                             vault->dir, vault->dir, vault->dir);
        else if (read_file(vault, name, &header, &sealed, &ignored) == 0 &&
                 sodium_memcmp(header.key_id, vault->key_id, KEY_ID_BYTES) != 0)
            status = err_set(err, ERR_REFUSED,
                             "'%s/key' is not the key that secret '%s' was set with: restore that "
                             "one, or remove '%s' and set the secrets anew",
                             vault->dir, name, vault->dir);
    }
    vault_list_release(&there);
    return status;
}

struct vault *vault_open(const char *dir, struct err *err)
{
    if (sodium_init() < 0) {
        err_set(err, -EIO, "libsodium cannot be used here");
        return NULL;
    }
    struct vault *vault = calloc(1, sizeof *vault);
    if (!vault)
        abort();
    vault->dir = str_dup(dir);
    vault->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (vault->dir_fd < 0)
        err_errno(err, "cannot open directory '%s'", dir);
    if (vault->dir_fd < 0 || load_key(vault, err) < 0 || check_key(vault, err) < 0) {
        vault_free(vault);
        return NULL;
    }
    return vault;
}

void vault_free(struct vault *vault)
{
    if (!vault)
        return;
    sodium_free(vault->key);
    if (vault->dir_fd >= 0)
        close(vault->dir_fd);
    free(vault->dir);
    free(vault);
}
