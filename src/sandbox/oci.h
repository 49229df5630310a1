/* The files that crun reads: config.json of a sandbox, process.json of a step (OCI runtime
 * spec 1.0). */
#ifndef CODEX_SANDBOX_OCI_H
#define CODEX_SANDBOX_OCI_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "sandbox/sandbox.h"

struct oci_sandbox {
    const char *root;   /* of the file system, below the bundle */
    const char *cgroup; /* path below each hierarchy */
    uid_t uid_base;
    const char *users; /* a path that opens its user namespace */
    struct sandbox_limits limits;
    const char *cores;      /* that it runs on, as "0,2"; NULL: all */
    bool has_v1_memory;     /* the memory controller is cgroup v1's */
    const char *agent_dir;  /* holds codex-agent; mounted read-only */
    const char *workspace;  /* mounted as workspace_target; NULL: none */
    bool is_host_workspace; /* what is written there is a file of the host */
    const char *workspace_target;
};

/* Both append to OUT; -ERANGE when it is full. */
int oci_config(struct buf *out, const struct oci_sandbox *sandbox);
int oci_process(struct buf *out, const struct sandbox_step *step,
                const struct sandbox_limits *limits);

#endif
