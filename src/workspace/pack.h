/*
 * Writing a .tar.zst: pax format, zstd level 3. What it holds is in docs/protocols.md, "The
 * archive". Memory does not grow with the files.
 */
#ifndef CODEX_WORKSPACE_PACK_H
#define CODEX_WORKSPACE_PACK_H

#include <stdint.h>

#include "base/err.h"
#include "workspace/walk.h"

struct pack;

/* To the descriptor FD (not closed). */
struct pack *pack_new(int fd, struct err *err);
void pack_free(struct pack *pack);

/* Add what ENTRY is. 1: added; 0: left out, with the reason in ERR (it changed, or cannot be
 * archived); negative: the archive cannot be written. */
int pack_add(struct pack *pack, const struct walk_entry *entry, struct err *err);

/* Complete the archive; SIZE_BYTES: what it is before compression. */
int pack_finish(struct pack *pack, uint64_t *size_bytes, struct err *err);

#endif
