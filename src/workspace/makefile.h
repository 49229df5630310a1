/* What a Makefile has, as far as that can be seen without running it. */
#ifndef CODEX_WORKSPACE_MAKEFILE_H
#define CODEX_WORKSPACE_MAKEFILE_H

#include <stdbool.h>

#include "base/buf.h"

enum { MAKEFILE_MAX = 1 << 20 };

/* Read the makefile that GNU make would take in the directory DIR; returns its name (static), or NULL
 * when there is none. */
const char *makefile_read(const char *dir, struct buf *text);

/* Whether TEXT has a rule for TARGET. */
bool makefile_has_target(const char *text, const char *target);

#endif
