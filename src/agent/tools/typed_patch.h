/* Patches that the model has typed into the shell: applied as by the tool, answered as by a
 * shell. */
#ifndef CODEX_AGENT_TOOLS_TYPED_PATCH_H
#define CODEX_AGENT_TOOLS_TYPED_PATCH_H

#include "agent/tool.h"
#include "agent/tools/shell_patch.h"

struct typed_patches {
    const struct tool_host *host;
    struct typed_patch *first;
};

/* Apply TYPED below WORKDIR (absolute), and end CALL with the outcome. */
void typed_patches_add(struct typed_patches *patches, struct tool_call *call, const char *workdir,
                       const struct shell_patch *typed);

size_t typed_patches_running(const struct typed_patches *patches);

/* The agent ends: their calls do soon after. */
void typed_patches_stop(const struct typed_patches *patches);

/* Forget them; their calls must have ended. */
void typed_patches_release(struct typed_patches *patches);

#endif
