#include "test.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "secrets/secrets.h"

#define VALUE "sk-the-value-of-the-test"

struct place {
    char dir[64];
    struct vault *vault;
    struct err err;
};

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    strcpy(place->dir, "/tmp/test-secrets-XXXXXX");
    if (!mkdtemp(place->dir))
        return -1;
    place->vault = vault_open(place->dir, &place->err);
    *state = place;
    return place->vault ? 0 : -1;
}

static int teardown(void **state)
{
    struct place *place = *state;
    vault_free(place->vault);
    int status = io_remove_tree_at(AT_FDCWD, place->dir, NULL);
    free(place);
    return status;
}

static void reopen(struct place *place)
{
    vault_free(place->vault);
    place->vault = vault_open(place->dir, &place->err);
}

static void set(struct place *place, const char *name, const char *value)
{
    if (vault_set(place->vault, name, value, strlen(value), &place->err) < 0)
        fail_msg("%s", place->err.message);
}

static void is(struct place *place, const char *name, const char *expected)
{
    char *value;
    if (vault_get(place->vault, name, &value, &place->err) < 0)
        fail_msg("%s", place->err.message);
    assert_string_equal(value, expected);
    secret_free(value);
}

static void is_refused(struct place *place, const char *name, int code, const char *part)
{
    char *value;
    assert_int_equal(vault_get(place->vault, name, &value, &place->err), code);
    assert_null(value);
    assert_non_null(strstr(place->err.message, part));
}

/* The file NAME below DIR; BYTES as they are changed by the caller are written back by put(). */
static void load(struct place *place, const char *name, struct buf *bytes)
{
    AUTO_FREE char *path = str_format("%s/%s", place->dir, name);
    buf_init(bytes, 1 << 20);
    assert_int_equal(io_read_file(path, bytes, &place->err), 0);
}

static void put(struct place *place, const char *name, const struct buf *bytes)
{
    AUTO_FREE char *path = str_format("%s/%s", place->dir, name);
    assert_int_equal(io_replace_file_at(AT_FDCWD, path, bytes->data, bytes->len, 0600, &place->err),
                     0);
}

static void what_is_set_comes_back(void **state)
{
    struct place *place = *state;
    is_refused(place, "A", ERR_NOT_FOUND, "there is no secret 'A'");
    set(place, "A", VALUE);
    set(place, "_b2", "x");
    is(place, "A", VALUE);
    reopen(place);
    is(place, "A", VALUE);
    is(place, "_b2", "x");
    set(place, "A", "another");
    is(place, "A", "another");

    struct vault_list list;
    assert_int_equal(vault_list(place->vault, &list, &place->err), 0);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.entries[0].name, "A");
    assert_string_equal(list.entries[1].name, "_b2");
    assert_true(list.entries[0].set_ms >= list.entries[1].set_ms && list.entries[1].set_ms > 0);
    vault_list_release(&list);

    assert_int_equal(vault_remove(place->vault, "A", &place->err), 0);
    assert_int_equal(vault_remove(place->vault, "A", &place->err), ERR_NOT_FOUND);
    is_refused(place, "A", ERR_NOT_FOUND, "'A'");
}

static void values_of_every_length(void **state)
{
    struct place *place = *state;
    char value[VAULT_VALUE_MAX + 1];
    memset(value, 'k', sizeof value);
    const size_t lengths[] = {1, 2, 15, 16, 17, 1000, VAULT_VALUE_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        assert_int_equal(vault_set(place->vault, "L", value, lengths[i], &place->err), 0);
        char *back;
        assert_int_equal(vault_get(place->vault, "L", &back, &place->err), 0);
        assert_int_equal(strlen(back), lengths[i]);
        assert_memory_equal(back, value, lengths[i]);
        secret_free(back);
    }
}

static void the_files_are_ours_and_tell_nothing(void **state)
{
    struct place *place = *state;
    struct stat info;
    AUTO_FREE char *key = str_format("%s/key", place->dir);
    assert_int_equal(stat(key, &info), -1); /* nothing before the first secret */
    set(place, "A", VALUE);
    assert_int_equal(stat(key, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(info.st_size, 32);
    AUTO_FREE char *sealed = str_format("%s/A.sealed", place->dir);
    assert_int_equal(stat(sealed, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    AUTO_BUF struct buf one, two;
    load(place, "A.sealed", &one);
    assert_null(memmem(one.data, one.len, VALUE, 8));
    assert_int_equal(one.len, 48 + strlen(VALUE) + 16);
    set(place, "A", VALUE); /* the same again is another file: the nonce is random */
    load(place, "A.sealed", &two);
    assert_int_equal(one.len, two.len);
    assert_memory_not_equal(one.data + 48, two.data + 48, strlen(VALUE));
}

static void every_changed_bit_is_noticed(void **state)
{
    struct place *place = *state;
    set(place, "A", VALUE);
    AUTO_BUF struct buf whole;
    load(place, "A.sealed", &whole);
    for (size_t i = 0; i < whole.len; i++) {
        whole.data[i] ^= 1;
        put(place, "A.sealed", &whole);
        is_refused(place, "A", ERR_REFUSED, "secret 'A' is damaged: set it again");
        whole.data[i] ^= 1;
    }
    size_t len = whole.len;
    for (whole.len = 0; whole.len < len; whole.len++) {
        put(place, "A.sealed", &whole);
        is_refused(place, "A", ERR_REFUSED, "damaged");
    }
    put(place, "A.sealed", &whole);
    is(place, "A", VALUE);
    put(place, "B.sealed", &whole); /* under another name */
    is_refused(place, "B", ERR_REFUSED, "damaged");
    struct vault_list list;
    assert_int_equal(vault_list(place->vault, &list, &place->err), 0);
    assert_int_equal(list.count, 2);
    assert_true(list.entries[0].set_ms > 0);
    assert_int_equal(list.entries[1].set_ms, 0);
    vault_list_release(&list);
    reopen(place); /* one that is damaged does not keep the others away */
    assert_non_null(place->vault);
    is(place, "A", VALUE);
    set(place, "B", "again");
    is(place, "B", "again");
}

static void does_not_open(struct place *place, const char *part)
{
    reopen(place);
    assert_null(place->vault);
    assert_int_equal(place->err.code, ERR_REFUSED);
    if (!strstr(place->err.message, part))
        fail_msg("'%s' is not in: %s", part, place->err.message);
    assert_null(strchr(place->err.message, '\n'));
}

static void a_wrong_key_is_refused(void **state)
{
    struct place *place = *state;
    set(place, "A", VALUE);
    AUTO_FREE char *path = str_format("%s/key", place->dir);
    AUTO_BUF struct buf key;
    load(place, "key", &key);
    key.data[0] ^= 1;
    put(place, "key", &key);
    does_not_open(place, "is not the key that secret 'A' was set with: restore that one");
    key.len--;
    put(place, "key", &key);
    does_not_open(place, "is no key of secrets (31 bytes, not 32)");
    key.len++;
    key.data[0] ^= 1;
    put(place, "key", &key);
    assert_int_equal(chmod(path, 0640), 0);
    does_not_open(place, "may be read by others: chmod 600 it");
    assert_int_equal(unlink(path), 0);
    does_not_open(place, "but not their key: restore");
    assert_int_equal(symlink("/dev/zero", path), 0);
    reopen(place);
    assert_null(place->vault);
    assert_int_equal(unlink(path), 0);
    put(place, "key", &key);
    reopen(place);
    assert_non_null(place->vault);
    is(place, "A", VALUE);
}

static void there_is_a_bound(void **state)
{
    struct place *place = *state;
    for (int i = 0; i < VAULT_SECRETS_MAX; i++) {
        AUTO_FREE char *name = str_format("N%d", i);
        set(place, name, "v");
    }
    assert_int_equal(vault_set(place->vault, "ONE_MORE", "v", 1, &place->err), ERR_REFUSED);
    set(place, "N7", "replaced");
    is(place, "N7", "replaced");
}

/* --- lookup --- */

static const char configuration[] = "[provider \"both\"]\nbase_url = http://h/v1\nenv_key = NAMED\n"
                                    "key_file = %s/file\n"
                                    "[provider \"none\"]\nbase_url = http://h/v1\n"
                                    "[forge \"h\"]\nkind = github\ntoken_env = TOKEN\n";

static void load_secrets(struct place *place, struct config *config, struct secrets *secrets)
{
    AUTO_FREE char *text = str_format(configuration, place->dir);
    config_init(config);
    if (config_parse(config, "c", text, strlen(text), &place->err) < 0 ||
        secrets_load(secrets, config, &place->err) < 0 ||
        secrets_open_vault(secrets, place->dir, &place->err) < 0)
        fail_msg("%s", place->err.message);
    assert_null(getenv("NAMED"));
    assert_null(getenv("TOKEN"));
}

static void finds(const struct secrets *secrets, const struct config_provider *provider,
                  const char *expected)
{
    struct err err = {0};
    char *value;
    int status = secrets_get(secrets, provider->env_key, provider->key_file, &value, &err);
    if (status < 0)
        fail_msg("%s", err.message);
    if (expected)
        assert_string_equal(value, expected);
    else
        assert_null(value);
    secret_free(value);
}

static void the_order_of_the_lookup(void **state)
{
    struct place *place = *state;
    struct config config;
    struct secrets secrets;
    AUTO_FREE char *path = str_format("%s/file", place->dir);
    assert_int_equal(io_replace_file_at(AT_FDCWD, path, " from-file\n", 11, 0600, &place->err), 0);
    setenv("NAMED", "from-environment\n", 1);
    setenv("TOKEN", "forge's-token", 1);
    load_secrets(place, &config, &secrets);
    const struct config_provider *both = &config.providers[0];
    finds(&secrets, both, "from-environment");
    finds(&secrets, &config.providers[1], NULL);
    assert_int_equal(vault_set(secrets.vault, "NAMED", "secret", 6, &place->err), 0);
    finds(&secrets, both, "secret");
    assert_int_equal(vault_remove(secrets.vault, "NAMED", &place->err), 0);
    finds(&secrets, both, "from-environment");
    char *token;
    assert_int_equal(secrets_get(&secrets, "TOKEN", NULL, &token, &place->err), 0);
    assert_string_equal(token, "forge's-token");
    secret_free(token);
    secrets_release(&secrets);
    config_release(&config);

    load_secrets(place, &config, &secrets); /* without the variable */
    finds(&secrets, &config.providers[0], "from-file");
    secrets_release(&secrets);
    config_release(&config);

    assert_int_equal(unlink(path), 0);
    load_secrets(place, &config, &secrets);
    char *value;
    both = &config.providers[0];
    assert_int_equal(secrets_get(&secrets, both->env_key, both->key_file, &value, &place->err),
                     ERR_NOT_FOUND);
    AUTO_FREE char *expected = str_format(
        "there is no secret NAMED, and NAMED is not set in codexd's environment, and cannot open "
        "'%s': No such file or directory: 'codex secret set NAMED' sets it",
        path);
    assert_string_equal(place->err.message, expected);
    secrets_release(&secrets);
    config_release(&config);
}

static void a_damaged_secret_is_not_passed_over(void **state)
{
    struct place *place = *state;
    struct config config;
    struct secrets secrets;
    setenv("NAMED", "from-environment", 1);
    load_secrets(place, &config, &secrets);
    assert_int_equal(vault_set(secrets.vault, "NAMED", "secret", 6, &place->err), 0);
    AUTO_BUF struct buf file;
    load(place, "NAMED.sealed", &file);
    file.data[file.len - 1] ^= 1;
    put(place, "NAMED.sealed", &file);
    assert_int_equal(secrets_check_provider(&secrets, &config, &config.providers[0], &place->err),
                     ERR_REFUSED);
    assert_string_equal(place->err.message, "secret 'NAMED' is damaged: set it again");
    secrets_release(&secrets);
    config_release(&config);
}

static void what_is_no_key(void **state)
{
    struct err err;
    static const char *const bad[] = {"",           " \n",  "a b",   "a\nb", "\x7f",
                                      "k\xc3\xa9y", "a\tb", "\"k\"", "a\\b"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *text = bad[i];
        size_t len = strlen(text);
        assert_int_equal(secret_trim(&text, &len, "it", &err), ERR_USAGE);
    }
    const char *text = "k\0y";
    size_t len = 3;
    assert_int_equal(secret_trim(&text, &len, "it", &err), ERR_USAGE);
    text = "\r\n key \n";
    len = strlen(text);
    assert_int_equal(secret_trim(&text, &len, "it", &err), 0);
    assert_int_equal(len, 3);
    assert_memory_equal(text, "key", 3);
}

/* Headers and parameters: what they refer to is read once, and taken out of the environment. */
static void references_are_resolved(void **state)
{
    char file[] = "/tmp/test-config-XXXXXX";
    int fd = mkstemp(file);
    assert_true(fd >= 0 && write(fd, " token-of-the-file\n", 19) == 19);
    char text[1000];
    snprintf(text, sizeof text,
             "[provider \"p\"]\nbase_url = http://h\nheader.api-key = ${env:TEST_KEY}\n"
             "header.Authorization = Bearer ${file:%s}\nheader.X-Cost = 5 $ or $x\n"
             "query.api-version = 2024-10-21\nquery.team = t-${env:TEST_TEAM}-t\n"
             "[provider \"q\"]\nbase_url = http://h\nheader.x = ${env:TEST_KEY}\n"
             "[provider \"r\"]\nbase_url = http://h\nheader.x = ${env:TEST_NONE}${file:/none}\n",
             file);
    setenv("TEST_KEY", "key-of-the-environment", 1);
    setenv("TEST_TEAM", "seven", 1);
    unsetenv("TEST_NONE");
    struct config c;
    struct secrets secrets;
    struct err err;
    config_init(&c);
    assert_int_equal(config_parse(&c, "c", text, strlen(text), &err), 0);
    assert_int_equal(secrets_load(&secrets, &c, &err), 0);
    struct provider_secrets p;
    assert_int_equal(secrets_provider(&secrets, &c, &c.providers[0], &p, &err), 0);
    assert_null(p.key);
    assert_string_equal(c.providers[0].headers.list[1].name, "Authorization");
    assert_string_equal(p.headers[0], "key-of-the-environment");
    assert_string_equal(p.headers[1], "Bearer token-of-the-file");
    assert_string_equal(p.headers[2], "5 $ or $x");
    assert_string_equal(p.query[0], "2024-10-21");
    assert_string_equal(p.query[1], "t-seven-t");
    /* What is short may stand in any answer by chance. */
    assert_int_equal(p.parts_count, 2);
    assert_string_equal(p.parts[0], "key-of-the-environment");
    assert_string_equal(p.parts[1], "token-of-the-file");
    provider_secrets_release(&p);
    assert_int_equal(secrets_provider(&secrets, &c, &c.providers[1], &p, &err), 0);
    assert_string_equal(p.headers[0], "key-of-the-environment");
    provider_secrets_release(&p);
    assert_int_equal(secrets_provider(&secrets, &c, &c.providers[2], &p, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "TEST_NONE is not set in codexd's environment"));
    assert_null(getenv("TEST_KEY"));
    assert_null(getenv("TEST_TEAM"));
    secrets_release(&secrets);
    config_release(&c);
    close(fd);
    unlink(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references_are_resolved),
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(what_is_set_comes_back),
        TEST(values_of_every_length),
        TEST(the_files_are_ours_and_tell_nothing),
        TEST(every_changed_bit_is_noticed),
        TEST(a_wrong_key_is_refused),
        TEST(there_is_a_bound),
        TEST(the_order_of_the_lookup),
        TEST(a_damaged_secret_is_not_passed_over),
        TEST(what_is_no_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
