/*
 * Where an update's chunks fit into a file, and what the file is afterwards. Bytes in, bytes out.
 *
 * As in openai/codex: a chunk is looked for behind the one before it, exactly at first, then more
 * and more leniently (enum patch_likeness). Lines of context stay as the file has them. Line
 * endings, also mixed ones, stay; new lines get the file's first ending. A chunk without old lines
 * goes to the end. The file ends with a line ending afterwards.
 */
#ifndef CODEX_AGENT_TOOLS_PATCH_MATCH_H
#define CODEX_AGENT_TOOLS_PATCH_MATCH_H

#include "agent/tools/patch_parse.h"

enum { PATCH_FILE_MAX_BYTES = 32 << 20 };

/* Append to OUT what BEFORE (at most PATCH_FILE_MAX_BYTES) becomes by OP, an update of PATCH.
 * Returns 0; ERR_NOT_FOUND when a context or old lines are not in the file, with the reason in
 * MESSAGE, which calls the file NAME; ERR_LIMIT when the result passes OUT's maximum. OUT is then
 * not to be used. */
int patch_update(const struct patch *patch, const struct patch_op *op, struct slice before,
                 const char *name, struct buf *out, struct buf *message);

#endif
