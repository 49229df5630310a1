/*
 * Carrying a parsed patch out on the file system, with the rights of this process.
 *
 * Operations are done in order; the first that fails ends it, and those before it stay done. Adding
 * and moving overwrite. Files are written in place: mode, owner, hard links and symbolic links to
 * them stay. Only regular files are read or written, and nothing blocks on a FIFO.
 */
#ifndef CODEX_AGENT_TOOLS_PATCH_APPLY_H
#define CODEX_AGENT_TOOLS_PATCH_APPLY_H

#include "agent/tools/patch_parse.h"

/* What became of the operations so far. */
struct patch_progress {
    size_t done;     /* operations of the patch that are carried out, from its first */
    struct buf text; /* "Success. Updated the following files:" …, or why it failed; one or more
                        lines, the last one ended too. Give it its maximum */
};

/* Relative paths begin at BASE, an absolute path. Returns 0; ERR_USAGE for a patch without
 * operations; negative when one could not be carried out. The texts are those of openai/codex. */
int patch_apply(const struct patch *patch, const char *base, struct patch_progress *progress);

/* "A", "M" or "D" and the path as the patch spells it (a moved file: its new path). */
char patch_op_letter(const struct patch_op *op);
struct slice patch_op_path(const struct patch_op *op);

#endif
