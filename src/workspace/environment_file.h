/*
 * `.codex/environment.conf` of the repository: what it says about the place that its work is done
 * in. Lines of `key = value`, comments behind `#`; `setup` may stand several times, and its lines
 * are run in their order.
 */
#ifndef CODEX_WORKSPACE_ENVIRONMENT_FILE_H
#define CODEX_WORKSPACE_ENVIRONMENT_FILE_H

#include <stddef.h>

#include "base/err.h"

#define ENVIRONMENT_FILE ".codex/environment.conf"

enum { ENVIRONMENT_FILE_MAX = 65536, ENVIRONMENT_SETUP_MAX = 32 };

struct environment_file {
    char *setup[ENVIRONMENT_SETUP_MAX];
    size_t setup_count;
};

/* Read it below the directory DIR. 1 when there is one, 0 when not; ERR_USAGE names the line that
 * cannot be understood. Keys of later versions are mentioned on standard error. Release it also
 * after a failure. */
int environment_file_read(const char *dir, struct environment_file *file, struct err *err);
void environment_file_release(struct environment_file *file);

#endif
