/*
 * Applying a patch with the rights of the sandbox user: in a forked child that becomes that user,
 * since the agent itself may not write the user's files, and must not follow the user's links.
 */
#ifndef CODEX_AGENT_TOOLS_PATCH_RUN_H
#define CODEX_AGENT_TOOLS_PATCH_RUN_H

#include "agent/tool.h"
#include "agent/tools/patch_text.h"
#include "base/buf.h"

struct patch_run;

/* TEXT (LEN bytes, valid during the call) is for the model: which files were updated, or what
 * failed and what had been done before. */
typedef void patch_run_fn(void *arg, bool ok, const char *text, size_t len);

/* Apply PATCH (copied by the fork), relative paths beginning at HOST's workdir, or at DIRECTORY
 * below it or absolute (at NULL: none). The files that were changed are reported as a file_change
 * item, then DONE is called and the run is gone. NULL when it could not be started. */
struct patch_run *patch_run_start(const struct tool_host *host, struct slice directory,
                                  struct slice patch, patch_run_fn *done, void *arg,
                                  struct err *err);

/* The agent ends: a moment is left for it to come to its end, rather than cut a file in two. DONE
 * is called as soon as the child is gone. */
void patch_run_stop(struct patch_run *run);

/* Forget about it: DONE is not called. The child goes on. */
void patch_run_free(struct patch_run *run);

#endif
