/*
 * `codex-agent init`: process 1 of a sandbox. It reaps what is orphaned, and waits. That it runs it
 * tells by closing its descriptors.
 *
 * It ends when the runner ends it (SIGKILL, or SIGTERM from outside the sandbox) or dies itself,
 * and takes the whole tree with it. Signals from within the sandbox do nothing.
 */
#ifndef CODEX_AGENT_INIT_H
#define CODEX_AGENT_INIT_H

/* Usage: codex-agent init. Returns the exit status: 0 after SIGTERM, 2 for bad usage. */
int agent_init_main(int argc, char **argv);

#endif
