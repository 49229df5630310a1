/*
 * codex.conf: the server's configuration, an INI file. docs/configuration.md explains every key for
 * users; the table in keys.c is what is accepted.
 *
 * Every mistake is an error that names "file:line": an unknown section or key, a value that does
 * not parse, a key given twice, a provider that lacks what its wire needs.
 */
#ifndef CODEX_CONFIG_CONFIG_H
#define CODEX_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    CONFIG_PROVIDERS_MAX = 16,
    CONFIG_FORGES_MAX = 16,
    CONFIG_RULES_MAX = 256,
    CONFIG_FILE_MAX = 256 * 1024,
    CONFIG_VARIABLE_MAX = 64, /* bytes of the name of a key */
};
enum { CONFIG_EXTRAS_MAX = 16 }; /* headers of a provider, and parameters */

enum wire_api { WIRE_RESPONSES, WIRE_CHAT, WIRE_MESSAGES, WIRE_REPLAY };

const char *wire_api_name(enum wire_api wire);

/* Whether S is a reasoning effort: low, medium, high, xhigh. */
bool config_effort_valid(const char *s);

/* header.NAME or query.NAME of a provider: VALUE may hold references (docs/configuration.md), which
 * secrets.h resolves. */
struct config_extra {
    char *name, *value;
};

struct config_extras {
    struct config_extra list[CONFIG_EXTRAS_MAX];
    size_t count;
};

/* Whether NAME can be that of a key (env_key, token_env, a secret): [A-Za-z_][A-Za-z0-9_]*, and at
 * most CONFIG_VARIABLE_MAX bytes. */
bool config_variable_valid(const char *name);

/* [provider "name"]. Strings are NULL where the file does not set them. */
struct config_provider {
    char *name;
    char *base_url; /* http:// or https://, without a slash at its end */
    enum wire_api wire_api;
    char *env_key;  /* name of the key: a secret, or a variable in codexd's environment */
    char *key_file; /* file that holds the key when there is neither */
    char *file;     /* replay: the recorded turns */
    struct config_extras headers, query; /* of each request */
    int64_t first_byte_timeout_ms, idle_timeout_ms;
};

/* [forge "host"] or [forge "host:port"]: how remote repositories there are reached. Strings are NULL
 * where the file does not set them. */
struct config_forge {
    char *name;
    char *kind;       /* github (of GitHub's own hosts also without a word), gitlab, gitea, plain */
    char *base_url;   /* of its API */
    char *token_env;  /* variable of codexd's environment that holds the token */
    char *token_file; /* file that holds it; one of the two */
    char *user;       /* whom the token logs in as */
    char *ssh_key_file; /* private key for ssh:// addresses */
    char *known_hosts;  /* file of host keys; nothing else is trusted */
    char *ca_file;      /* file of certificates to trust instead of the system's */
    bool allow_http;    /* also without TLS, and to others than this machine */
};

/* What tasks may reach: rules as base/net_rule.h reads them. */
struct config_rules {
    char **rules; /* owned */
    size_t count;
};

struct config {
    char *user;   /* whom codexd becomes */
    char *socket; /* NULL: codexd.sock in the state directory */
    int64_t max_running;

    char *model, *provider, *effort; /* of tasks that name none; model and provider may be NULL */
    struct config_provider providers[CONFIG_PROVIDERS_MAX];
    size_t providers_count;
    struct config_forge forges[CONFIG_FORGES_MAX];
    size_t forges_count;

    char *runtime; /* a program's name or path */
    char *images;  /* NULL: images/ in the state directory */
    int64_t memory_bytes, cpu_milli /* 0: no limit */, pids;
    int64_t disk_bytes /* 0: no limit */, inodes /* 0: by disk_bytes */;
    bool allow_root; /* a repository may have its commands run as the container's root */

    int64_t timeout_ms, test_timeout_ms, verify_rounds;
    int64_t budget_tokens; /* 0: no limit */

    char *author_name, *author_email;
    int64_t fetch_timeout_ms;  /* of one try to fetch a remote repository */
    int64_t stall_timeout_ms;  /* how long such a try may bring nothing at all */
    int64_t large_files_bytes; /* of files in Git LFS that come along with a commit; 0: none do */

    char *internet; /* off, common, list, public */
    struct config_rules allow, allow_private;
    char *resolver; /* an address, with or without a port; NULL: the machine's own */
};

/* The defaults of docs/configuration.md. */
void config_init(struct config *config);
void config_release(struct config *config);

/* Put the file at PATH on top of the defaults. */
int config_load(struct config *config, const char *path, struct err *err);

/* The same from memory; NAME stands for the file in messages. */
int config_parse(struct config *config, const char *name, const char *bytes, size_t len,
                 struct err *err);

/* NULL when there is none of that name. */
const struct config_provider *config_provider_find(const struct config *config, const char *name);
const struct config_forge *config_forge_find(const struct config *config, const char *name);

/* Whether the forge NAME is GitHub's own: github.com, or NAME.ghe.com. */
bool config_forge_is_github(const char *name);

#endif
