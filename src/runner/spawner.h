/*
 * codex-runner --spawner: starts runners and codex-git for codexd, which has no right to. Speaks
 * task/spawn.h on descriptor 3.
 *
 * It ends what a dead runner leaves, at its own start and ever after, and stays until its last
 * child has ended, also when codexd is gone. SIGTERM, SIGINT and SIGHUP do nothing: tasks outlive
 * the server, and the terminal it was started from.
 */
#ifndef CODEX_RUNNER_SPAWNER_H
#define CODEX_RUNNER_SPAWNER_H

enum { SPAWNER_FD = 3 };

struct spawner_options {
    const char *state; /* the state directory */
    const char *images;
    const char *runtime;               /* crun */
    const char *agent, *gateway, *git; /* the programs */
};

/* Returns the exit status. */
int spawner_main(const struct spawner_options *options);

#endif
