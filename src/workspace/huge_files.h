/* Files that are too large to become part of a commit: git reads them whole, and one that is a
 * single hole, of a terabyte, keeps it busy for longer than a commit may take. */
#ifndef CODEX_WORKSPACE_HUGE_FILES_H
#define CODEX_WORKSPACE_HUGE_FILES_H

#include "base/buf.h"
#include "base/err.h"

enum { HUGE_FILES_LIST_MAX = 1 << 20 /* bytes of OUT */ };

/* Append to OUT a pathspec (gitglossary(7)), ended by a NUL, for each regular file below the
 * directory DIR that has more than 2 GiB, which leaves that file as the index has it. Each is named
 * on standard error. ERR_LIMIT when there are more than fit. */
int huge_files_exclude(const char *dir, struct buf *out, struct err *err);

#endif
