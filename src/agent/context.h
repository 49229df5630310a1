/*
 * What the model is told before the prompt: the repository's AGENTS.md files, and where it is.
 *
 * The files are the repository's, so they are read as the user of the model's commands, in a child,
 * with bounds on size and time: a FIFO, a device or a link into the agent's own files gives
 * nothing.
 */
#ifndef CODEX_AGENT_CONTEXT_H
#define CODEX_AGENT_CONTEXT_H

#include "agent/task_file.h"
#include "agent/tool.h"
#include "base/buf.h"
#include "base/err.h"

enum { CONTEXT_AGENTS_MD_MAX_BYTES = 32768 }; /* of all files together, as in openai/codex */

/*
 * From the repository's root (the nearest directory with a `.git`, else the workdir itself) down to
 * the workdir, in each directory `AGENTS.override.md`, else `AGENTS.md`. OUT stays empty when there
 * is nothing in them. What cannot be read is said on standard error and left out.
 */
int context_agents_md(const struct tool_host *host, struct buf *out, struct err *err);

/* The <environment_context> block. NARROWING: what the repository makes of the internet, an object as
 * workspace/environment_file.h writes it; NULL: nothing. */
void context_environment(const struct tool_host *host, const struct agent_task *task,
                         const json_t *narrowing, struct buf *out);

#endif
