/* The files that the runtime reads: config.json of a sandbox, process.json of a step (OCI runtime
 * spec 1.0). */
#ifndef CODEX_SANDBOX_OCI_H
#define CODEX_SANDBOX_OCI_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "sandbox/mounts.h"
#include "sandbox/sandbox.h"

struct oci_sandbox {
    const char *bundle; /* its directory */
    const char *root;   /* of the file system, below the bundle */
    const char *cgroup; /* path below each hierarchy; NULL: none, and no limits by it */
    const char *usr;    /* a directory of the host to be /usr, read-only; NULL: /usr is in root */
    const struct mounts_extent *map; /* of users and groups to the host's */
    size_t map_count;
    const struct runtime_kind *runtime;
    const char *users; /* a path that opens its user namespace */
    struct sandbox_limits limits;
    const char *cores;      /* that it runs on, as "0,2"; NULL: all */
    const char *agent_dir;  /* holds codex-agent; mounted read-only */
    const char *workspace;  /* mounted as workspace_target; NULL: none */
    bool is_host_workspace; /* what is written there is a file of the host */
    const char *workspace_target;
};

/* Both append to OUT; -ERANGE when it is full. INHERITS: the process is not to get the
 * resource limits, it has them from who starts it. */
int oci_config(struct buf *out, const struct oci_sandbox *sandbox);
int oci_process(struct buf *out, const struct sandbox_step *step,
                const struct sandbox_limits *limits, bool inherits);

/* The resource limits of a process with PROFILE, none above what we may give. Returns their
 * number. */
size_t oci_limits(struct runtime_limit out[RUNTIME_LIMITS_MAX], enum sandbox_profile profile,
                  const struct sandbox_limits *limits);

#endif
