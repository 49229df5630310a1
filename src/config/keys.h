/* What codex.conf may say: the sections and their keys. Private to this room. */
#ifndef CODEX_CONFIG_KEYS_H
#define CODEX_CONFIG_KEYS_H

#include "config/config.h"

enum section {
    SECTION_NONE,
    SECTION_SERVER,
    SECTION_MODEL,
    SECTION_SANDBOX,
    SECTION_TASK,
    SECTION_GIT,
    SECTION_INTERNET,
    SECTION_PROVIDER, /* [provider "name"]: keys go to a struct config_provider */
    SECTION_FORGE,    /* [forge "name"]: a struct config_forge */
    SECTION_COUNT,
};

/* Where the keys of a section go: CONFIG itself, or an element of one of its arrays. */
struct section_target {
    enum section section;
    void *base;
};

/* HEADER is what stands between the brackets. A named section is appended on its first sight. */
int section_open(struct config *config, const char *header, struct section_target *out,
                 struct err *err);

/* Parse VALUE into the field of KEY. *FIELD is set to it, so that the caller can tell a
 * repetition; to NULL for a list, of which every line adds to it. */
int section_set(const struct section_target *target, const char *key, const char *value,
                void **field, struct err *err);

#endif
