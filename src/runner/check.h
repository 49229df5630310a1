/*
 * codex-runner --check: what sandboxes need of this machine, each tried as they use it. Prints one
 * finding a line, the objects of GET /v1/doctor (docs/api.md):
 *
 *     {"check":"overlay","status":"ok"|"warn"|"fail","detail":"…","remedy":"…"|null}
 *
 * Needs root; changes nothing that stays. Takes some tens of milliseconds.
 */
#ifndef CODEX_RUNNER_CHECK_H
#define CODEX_RUNNER_CHECK_H

struct check_options {
    const char *state, *images, *runtime;
};

/* Returns the exit status: 0 when everything could be looked at, whatever was found. */
int check_main(const struct check_options *options);

#endif
