/*
 * `codex-agent apply-patch [PATCH]`: apply a patch, from the one argument or from standard input,
 * in the current directory. Prints what openai/codex's apply_patch prints: the files that were
 * updated to standard output, or why not to standard error.
 */
#ifndef CODEX_AGENT_TOOLS_PATCH_MAIN_H
#define CODEX_AGENT_TOOLS_PATCH_MAIN_H

/* Returns the exit status: 0 done; 1 it could not be applied (what came before the failure is
 * done); 2 it is not a patch, or bad usage. */
int patch_main(int argc, char **argv);

#endif
