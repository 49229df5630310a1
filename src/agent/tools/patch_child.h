/* The process that applies a patch as the sandbox user, and what it tells the agent. */
#ifndef CODEX_AGENT_TOOLS_PATCH_CHILD_H
#define CODEX_AGENT_TOOLS_PATCH_CHILD_H

#include <stdint.h>

#include "agent/tools/patch_parse.h"
#include "base/buf.h"

enum { PATCH_REPORT_MAX_BYTES = PATCH_MAX_BYTES + (1 << 20) };

/*
 * The report is a sequence of frames: this header, then `len` bytes. One for each operation that
 * was carried out: 'A', 'M' or 'D' and the path. At last PATCH_FRAME_OK or PATCH_FRAME_FAILED and
 * the text for the model; without it the child has not come to its end.
 */
struct patch_frame {
    char type;
    uint32_t len;
};

enum { PATCH_FRAME_OK = 'o', PATCH_FRAME_FAILED = 'f' };

struct patch_work {
    const char *base; /* absolute */
    struct slice patch;
};

/* In the child (user_child.h): apply what ARG, a struct patch_work, says. */
void patch_child(void *arg, struct buf *report);

#endif
