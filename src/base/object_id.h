/* Names of git's objects, as text. */
#ifndef CODEX_BASE_OBJECT_ID_H
#define CODEX_BASE_OBJECT_ID_H

#include <stdbool.h>

enum {
    OBJECT_ID_LEN = 40, /* SHA-1, in hexadecimal */
    OBJECT_ID_SIZE = 41 /* with its NUL */
};

/* Exactly 40 lowercase hexadecimal digits. */
bool object_id_valid(const char *id);

#endif
