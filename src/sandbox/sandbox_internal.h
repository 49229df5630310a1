/* What sandbox.c, sandbox_layer.c and sandbox_step.c share. */
#ifndef CODEX_SANDBOX_SANDBOX_INTERNAL_H
#define CODEX_SANDBOX_SANDBOX_INTERNAL_H

#include "sandbox/mounts.h"
#include "sandbox/sandbox.h"
#include "sandbox/uid_range.h"

struct sandbox_running; /* a step that has not ended */

struct sandbox {
    struct sandbox_host *host;
    struct sandbox_limits limits;
    struct uid_range range;                       /* rootless only `base` counts */
    struct mounts_extent map[MOUNTS_EXTENTS_MAX]; /* what its users and groups are to us */
    size_t map_count;
    int users_fd;         /* its user namespace */
    char directory[64];   /* the bundle, in the private directory */
    char layer[PATH_MAX]; /* holds `upper` and `work` of the writable layer */
    enum sandbox_disk disk;
    int disk_fd;                          /* the top directory of its disk; -1: it has none */
    char cgroup[CGROUP_PATH_SIZE];        /* path below each hierarchy */
    char id[CGROUP_PATH_SIZE];            /* the runtime's name for it */
    pid_t init;                           /* process 1, a child of ours; 0: none */
    bool init_has_ended, init_was_killed; /* by SIGKILL */
    bool was_killed;                      /* by sandbox_kill(): it ends, if it has not yet */
    int init_pidfd;
    int ready_fd; /* ends when process 1 runs its own program; -1: it does, or there is none */
    struct loop_source *init_source;
    struct sandbox_running *steps;
    unsigned steps_count; /* so far: names their files */
};

/* sandbox_root.c. Put its files together, in its directory: root, workspace, usr. */
int sandbox_mount(struct sandbox *sandbox, const struct sandbox_options *options, struct err *err);

struct stat;

/* sandbox_ids.c. Take ids, and make the user namespace of them. */
int sandbox_open_ids(struct sandbox *sandbox, const struct sandbox_options *options,
                     struct err *err);

/* What the sandbox's user UID is to us. */
uid_t sandbox_outer_uid(const struct sandbox *sandbox, uid_t uid);

/* Mount FROM at TO so that the ids on disk are the sandbox's: by those of IDS_FD, unless rootless. */
int sandbox_bind(const struct sandbox *sandbox, const char *from, const char *to, int ids_fd,
                 bool read_only, struct err *err);

/* The directory PATH on disk becomes the sandbox's user UID's. */
int sandbox_own(const struct sandbox *sandbox, const char *path, uid_t uid, struct err *err);

/* Give what the image has of uid 1000 to whom it is here, in the mounted file system ROOT. */
int sandbox_settle_user(const struct sandbox *sandbox, const char *root, struct err *err);

/* Whether the directory PATH of the host, which is ST, can be a workspace. */
int sandbox_check_workspace(const struct sandbox *sandbox, const char *path, const struct stat *st,
                            struct err *err);

/* PATH/NAME on OUT (PATH_MAX bytes). */
const char *sandbox_join(char *out, const char *path, const char *name);

/* mkdir, where it may be there already. */
int sandbox_make_dir(const char *path, mode_t mode, struct err *err);

/* Make the directories of the writable layer, or find them again, and fill `layer`, `disk` and
 * `disk_fd`. */
int sandbox_layer_open(struct sandbox *sandbox, const struct sandbox_options *options,
                       struct err *err);
void sandbox_layer_close(struct sandbox *sandbox);

/* Forget the steps: their callbacks are not called. */
void sandbox_drop_steps(struct sandbox *sandbox);

/* ERR tells why a call failed: when that is because somebody has killed process 1, its code becomes
 * ERR_KILLED. Returns the code. */
int sandbox_failed(const struct sandbox *sandbox, struct err *err);

/* Run the OCI runtime for it, see runtime.h. PROFILE: of the process that comes of it; NULL: none
 * does. */
int sandbox_run_runtime(const struct sandbox *sandbox, const char *command, const char *const *args,
                        const struct process_fd *fds, size_t fds_count,
                        const enum sandbox_profile *profile, struct err *err);

/* The pid in FILE, which the runtime wrote. */
int sandbox_read_pid(const char *file, pid_t *pid, struct err *err);

#endif
