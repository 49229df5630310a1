/*
 * What providers and forges need that only root may be able to read, or that must not stay in the
 * environment: keys, what headers and parameters refer to, tokens, certificates and recorded turns.
 * Read once, at codexd's start.
 */
#ifndef CODEX_CONFIG_SECRETS_H
#define CODEX_CONFIG_SECRETS_H

#include "config/config.h"

enum { SECRET_PARTS_MAX = 8, SECRET_MAX_BYTES = 4096, SECRET_PART_MIN_BYTES = 8 };

struct secret {
    char *key;     /* NULL: none */
    char *missing; /* why there is none though the provider names one; NULL: all is there */
    /* The provider's headers and parameters, in the order of its configuration, without references.
     */
    char *headers[CONFIG_EXTRAS_MAX], *query[CONFIG_EXTRAS_MAX];
    /* What references stood for, from SECRET_PART_MIN_BYTES on: no answer may repeat it. */
    char *parts[SECRET_PARTS_MAX];
    size_t parts_count;
    int replay_fd; /* replay: a sealed memory file with the recorded turns, or -1 */
};

/* How a forge lets us in. NULL: it names none, or it could not be read, and MISSING says why. */
struct forge_secret {
    struct secret token;
    char *ssh_key, *known_hosts, *ca; /* the files' contents */
    char *missing;
};

/* In the order of the configuration's. */
struct secrets {
    struct secret providers[CONFIG_PROVIDERS_MAX];
    struct forge_secret forges[CONFIG_FORGES_MAX];
};

/* The variables are wiped and taken out of this process's environment. A key or a file that is
 * missing is no error here: it is told when a task needs it. */
int secrets_load(struct secrets *secrets, const struct config *config, struct err *err);
void secrets_release(struct secrets *secrets); /* wipes the keys */

/* A new descriptor of the recorded turns, with an offset of its own. */
int secrets_open_replay(const struct secret *secret, struct err *err);

#endif
