/*
 * `codex-agent run`: the agent itself. Descriptors and task.json are in docs/protocols.md, the exit
 * statuses in task/exit.h.
 */
#ifndef CODEX_AGENT_RUN_H
#define CODEX_AGENT_RUN_H

/* Usage: codex-agent run [--state DIR]. Returns the exit status; 2 for bad usage. */
int agent_run_main(int argc, char **argv);

/* instructions.md: the system prompt. */
extern const char agent_instructions[];

#endif
