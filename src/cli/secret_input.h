/* Reading a secret from standard input. */
#ifndef CODEX_CLI_SECRET_INPUT_H
#define CODEX_CLI_SECRET_INPUT_H

#include "base/buf.h"
#include "base/err.h"

enum { SECRET_INPUT_MAX = 16384 };

/*
 * From a terminal: ask for NAME once, and take one line without echo; the terminal is put back
 * whatever signal ends us meanwhile. Else everything up to the end. OUT is initialised here, never
 * moves while it grows, and belongs to the caller, who wipes it (secret_input_release()).
 */
int secret_input_read(const char *name, struct buf *out, struct err *err);
void secret_input_release(struct buf *buf);

#endif
