/* codex-runner --sandbox: one command in a sandbox like a task's, on the caller's terminal or
 * pipes. */
#ifndef CODEX_RUNNER_INTERACTIVE_H
#define CODEX_RUNNER_INTERACTIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "sandbox/sandbox.h"

/* Exit statuses beside the command's own. */
enum {
    INTERACTIVE_TIMED_OUT = 124,
    INTERACTIVE_NO_SANDBOX = 125, /* it could not be had; why is told on standard error */
};

struct interactive_options {
    const char *state; /* the state directory */
    const char *images;
    const char *runtime; /* crun */
    const char *agent;   /* codex-agent */
    const char *gateway; /* codex-gateway */
    int gateway_config;  /* a gateway.json without a model, for its internet; -1: no network */
    const char *workdir; /* becomes /workspace/<its name>, where the command starts */
    bool write;          /* what is written there is kept; else it is thrown away */
    bool root;           /* run as the container's root */
    struct sandbox_limits limits;
    int64_t timeout_ms; /* 0: none */
    const char *const *argv;
};

/* Runs it; returns the exit status for the program: the command's, 128 + signal, or one of the
 * above. */
int interactive_run(const struct interactive_options *options);

#endif
