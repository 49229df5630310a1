/*
 * The patch language of apply_patch, as in openai/codex (codex-rs/apply-patch): bytes in, a list of
 * operations out. Nothing here touches a file.
 *
 *     *** Begin Patch
 *     *** Add File: path          then lines with '+'
 *     *** Delete File: path
 *     *** Update File: path       then optionally "*** Move to: path", then chunks:
 *     @@ or @@ context            lines with ' ', '-', '+'; optionally "*** End of File"
 *     *** End Patch
 *
 * Tolerated: white space around the markers, CRLF, a here-document around all of it, a first chunk
 * without "@@", and "*** Environment ID: " before the first file (there is only one environment).
 */
#ifndef CODEX_AGENT_TOOLS_PATCH_PARSE_H
#define CODEX_AGENT_TOOLS_PATCH_PARSE_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/tools/patch_text.h"
#include "base/buf.h"

enum {
    PATCH_MAX_BYTES = 16 << 20,
    PATCH_MESSAGE_MAX = 64 << 10, /* of a message: it quotes lines of the patch */
};

enum patch_kind { PATCH_ADD, PATCH_DELETE, PATCH_UPDATE };

struct patch_line {
    char sign; /* ' ', '-' or '+' */
    struct slice text;
};

struct patch_chunk {
    struct slice context; /* after "@@ ": a line to go to first; at NULL: none */
    size_t first_line;    /* in patch.lines */
    size_t line_count;
    size_t old_count;    /* how many of them are ' ' or '-' */
    bool at_end_of_file; /* the old lines are the file's last */
};

struct patch_op {
    enum patch_kind kind;
    struct slice path;
    struct slice move_to; /* PATCH_UPDATE; at NULL: stays where it is */
    size_t first_chunk;   /* PATCH_UPDATE: in patch.chunks */
    size_t chunk_count;
    size_t first_line; /* PATCH_ADD: its '+' lines, in patch.lines */
    size_t line_count;
};

/* Every slice points into the text that was parsed. */
struct patch {
    struct patch_op *ops;
    size_t op_count, op_room;
    struct patch_chunk *chunks;
    size_t chunk_count, chunk_room;
    struct patch_line *lines;
    size_t line_count, line_room;
};

/* Parse LEN bytes of TEXT, which must outlive PATCH. Returns 0, or ERR_USAGE with the reason in
 * MESSAGE (its maximum cuts it; struct err is too small for lines of a patch). PATCH is then empty.
 * A patch without operations is fine here. */
int patch_parse(struct patch *patch, const char *text, size_t len, struct buf *message);

void patch_release(struct patch *patch);

#endif
