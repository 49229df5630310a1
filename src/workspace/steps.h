/*
 * The steps, as rows of codex-agent's table: argv[0] is the step's name; each returns its exit
 * status (task/exit.h).
 */
#ifndef CODEX_WORKSPACE_STEPS_H
#define CODEX_WORKSPACE_STEPS_H

/* Make the workspace from the base bundle, and in verification the work bundle: an ordinary clone
 * without a remote, on the branch that the base is (detached when it is none). A workspace that is
 * there already is left as it is, but for the work bundle, which is checked out over it. */
int checkout_main(int argc, char **argv);

/* Install what the repository depends on; see deps.h.
 * Option: --state DIR, where the mark that it was done is (default /var/lib/codex). */
int setup_main(int argc, char **argv);

/* Run the repository's tests; see find.h for how they are found. */
int test_main(int argc, char **argv);

/* Make one commit of what has changed since the base, and write it as the work bundle.
 * Option: --state DIR, where the agent's submit.json is (default /var/lib/codex). */
int commit_main(int argc, char **argv);

/* Write the workspace as a .tar.zst. */
int archive_main(int argc, char **argv);

#endif
