/*
 * Sandboxes: OCI containers by crun or runc, over an overlay on the host image, with a uid range, cgroups
 * and namespaces of their own, a seccomp policy, and no way out but listeners that we make.
 *
 * A program opens one sandbox_host, which gives it a private mount namespace, and then any number
 * of sandboxes. Starting one blocks (about 30 ms); the steps in it are children that the event loop
 * waits for. The program must be a subreaper (sandbox_host_open makes it one) and use
 * loop_reap_orphans().
 *
 * The life of one: sandbox_create, sandbox_listen, sandbox_start, sandbox_exec…, sandbox_free.
 * Whatever fails half-way, sandbox_free leaves no process, mount, cgroup or file but `directory`,
 * which belongs to the caller. ERR_KILLED from any of them: it failed because somebody else killed
 * the runtime or process 1 with SIGKILL, and may well succeed the next time.
 */
#ifndef CODEX_SANDBOX_SANDBOX_H
#define CODEX_SANDBOX_SANDBOX_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "loop/loop.h"
#include "sandbox/cgroup.h"
#include "sandbox/disk.h"
#include "sandbox/image.h"
#include "sandbox/runtime.h"

/* Where all servers of a machine meet: uid ranges, and the mount point of private directories. */
#define SANDBOX_RUN_DIR "/run/codex"

/* The cgroup that holds those of all sandboxes. */
#define SANDBOX_CGROUP_PARENT "codex"

/* What a limit may be, and is when nobody says. Below the least a sandbox does not come up. */
#define SANDBOX_MEMORY_MIN     (16ULL << 20)
#define SANDBOX_MEMORY_DEFAULT (4ULL << 30)
enum { SANDBOX_PIDS_MIN = 16, SANDBOX_PIDS_MAX = 1 << 20, SANDBOX_PIDS_DEFAULT = 1024 };

struct sandbox_limits {
    uint64_t memory_bytes; /* memory and swap together */
    uint32_t cpu_milli;    /* thousandths of a core; 0: no limit */
    unsigned cores;        /* sandbox_create() sets it: whole ones that this means; 0: all */
    uint32_t pids;
    struct disk_size disk; /* of the writable layer */
};

struct sandbox_host_options {
    const char *images;   /* directory of images */
    const char *runtime;  /* crun or runc: a name in PATH, or a path */
    const char *agent;    /* codex-agent on the host: a path, whose last component is that name */
    bool agent_is_shared; /* its directory holds nothing else: it is mounted, not copied */
    image_progress_fn *progress; /* while the image is made; NULL: none */
    void *progress_arg;
};

struct sandbox_host {
    struct loop *loop;
    struct cgroup_host cgroups;
    struct image image;
    struct runtime runtime;
    bool rootless; /* see rootless.h */
    char agent_dir[PATH_MAX]; /* in the private directory */
    unsigned count;           /* sandboxes so far */
};

/* Fills HOST. The options' strings must outlive it. Gives this process a mount namespace of its
 * own. */
int sandbox_host_open(struct sandbox_host *host, struct loop *loop,
                      const struct sandbox_host_options *options, struct err *err);
void sandbox_host_release(struct sandbox_host *host);

/* Copy codex-agent FROM to the new file TO, for everybody to run. */
int sandbox_copy_agent(const char *from, const char *to, struct err *err);

/* A directory of the host as /workspace/<name>. */
struct sandbox_workspace {
    const char *path; /* of the directory; NULL: none */
    const char *name;
    bool write; /* else what is written is kept apart, and thrown away with `directory` */
};

struct sandbox_options {
    const char *name;      /* unique on this machine: [a-z0-9-]; names the cgroups */
    const char *directory; /* for the writable layer, made when it is not there; what is in it is
                              found again. Its parent is 0700: files in it have root's real id */
    const char *below; /* holds `upper`, the layer of a sandbox that has ended: that lies between
                              the image and this one's, unchanged. NULL: none */
    bool keep;         /* the layer has to survive a crash of the machine */
    struct sandbox_limits limits;
    struct sandbox_workspace workspace;
};

struct sandbox;

/* Everything up to its process 1, which waits. NULL on failure. */
struct sandbox *sandbox_create(struct sandbox_host *host, const struct sandbox_options *options,
                               struct err *err);

/* A socket that listens on 127.0.0.1:PORT in the sandbox; the caller closes it. The sandbox's
 * network ends only when all such sockets are closed. */
int sandbox_listen(struct sandbox *sandbox, uint16_t port, struct err *err);

int sandbox_start(struct sandbox *sandbox, struct err *err);

/* Kill what is in it, give everything back, free it. NULL is fine. What cannot be removed is told
 * in ERR (negative), and is left to the next clean-up. */
int sandbox_free(struct sandbox *sandbox, struct err *err);

/* End every process in it, at once. The steps' callbacks come from the loop. */
void sandbox_kill(struct sandbox *sandbox);

/* Whether it can still run steps. */
bool sandbox_is_alive(const struct sandbox *sandbox);

/* How the limit of the disk is kept. */
enum sandbox_disk {
    SANDBOX_DISK_UNLIMITED,
    SANDBOX_DISK_HARD, /* a disk of its own (sandbox/disk.h): the file `disk` in `directory` */
    SANDBOX_DISK_SOFT, /* the machine has no loop devices: the layer is to be measured, and the
                          sandbox ended once it is too large */
};
enum sandbox_disk sandbox_disk(const struct sandbox *sandbox);

/* The directory that its writable layer is in. */
const char *sandbox_layer(const struct sandbox *sandbox);

/* What is left of a hard limit. */
int sandbox_read_disk(const struct sandbox *sandbox, struct disk_left *out, struct err *err);

/* Give up the reserve of a hard limit (only a layer that is kept has one). */
void sandbox_give_disk_reserve(struct sandbox *sandbox);

/* What a step may do. */
enum sandbox_profile {
    SANDBOX_AS_USER,     /* uid 1000, no capability */
    SANDBOX_AS_AGENT,    /* container root with SETUID, SETGID, KILL */
    SANDBOX_AS_ARCHIVER, /* container root with DAC_READ_SEARCH */
    SANDBOX_AS_ROOT,     /* container root with what installing packages needs */
};

struct sandbox_fd {
    int from; /* ours; stays ours */
    int to;   /* in the step; below SANDBOX_STEP_FDS. What is not named is closed, but 0 to 2 are
                 /dev/null, and those below the highest that is named are an empty file */
};
enum { SANDBOX_STEP_FDS = 8 };

struct sandbox_step {
    enum sandbox_profile profile;
    const char *const *argv;
    const char *const *env; /* NAME=value, added to the usual ones; NULL: none */
    const char *cwd;
    const struct sandbox_fd *fds;
    size_t fds_count;
    int64_t timeout_ms;  /* the step is killed then; 0: none */
    const char *console; /* a Unix socket: the runtime sends it the master of a pty, which is then the
                            step's 0, 1 and 2. NULL: no terminal */
};

enum sandbox_end {
    SANDBOX_EXITED,
    SANDBOX_SIGNALLED,
    SANDBOX_OUT_OF_MEMORY, /* the kernel killed it, or what it waited for, for lack of memory */
    SANDBOX_TIMED_OUT,
};

struct sandbox_result {
    enum sandbox_end end;
    int status; /* as a shell tells it: exit code, or 128 + signal */
    int64_t duration_ms;
    uint64_t oom_kills;   /* in the sandbox during the step */
    uint64_t pids_denied; /* forks refused by the limit */
};

typedef void sandbox_step_fn(void *arg, const struct sandbox_result *result);

/* Start a step; FN is called once from the loop when it has ended, also when the sandbox is killed,
 * but not after sandbox_free. Returns its pid, which is valid until then. */
pid_t sandbox_exec(struct sandbox *sandbox, const struct sandbox_step *step, sandbox_step_fn *fn,
                   void *arg, struct err *err);

#endif
