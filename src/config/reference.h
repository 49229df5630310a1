/*
 * Values that name where a part of them is kept, so that no secret stands in codex.conf:
 * ${env:NAME} is a variable of codexd's environment, ${file:/path} what a file holds. A dollar sign
 * that no brace follows is itself. Private to this room.
 */
#ifndef CODEX_CONFIG_REFERENCE_H
#define CODEX_CONFIG_REFERENCE_H

#include <stddef.h>

#include "base/err.h"

enum reference_kind { REFERENCE_NONE, REFERENCE_ENV, REFERENCE_FILE };

struct reference_part {
    enum reference_kind kind;
    const char *at; /* the text, or the name; not owned */
    size_t len;
};

/* The next part of *VALUE, which moves on. Returns 1, 0 at the end, or ERR_USAGE. */
int reference_next(const char **value, struct reference_part *part, struct err *err);

#endif
