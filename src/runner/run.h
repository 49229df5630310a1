/* codex-runner --run: one run of a task, from the checkout to the archive. */
#ifndef CODEX_RUNNER_RUN_H
#define CODEX_RUNNER_RUN_H

/* Descriptors of a runner at its start. */
enum run_fd {
    RUN_FD_REQUEST = 3, /* a memory file that holds a struct spawn_run */
    RUN_FD_FIRST = 4,   /* from here on those of enum spawn_run_fd */
};

struct run_options {
    const char *state; /* the state directory */
    const char *images;
    const char *runtime; /* crun */
    const char *agent;   /* codex-agent, in a directory that holds nothing else */
    const char *gateway; /* codex-gateway */
};

/* Returns the exit status: 0 when the end of the run is in the event file. */
int run_main(const struct run_options *options);

#endif
