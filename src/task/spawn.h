/*
 * Messages between codexd and the spawner (codex-runner --spawner), on a SOCK_SEQPACKET pair.
 * Both ends are of one build: the layout is the C struct. Every string is NUL-terminated inside its
 * array; the receiver checks that, and every number, before use.
 */
#ifndef CODEX_TASK_SPAWN_H
#define CODEX_TASK_SPAWN_H

#include <stdint.h>

enum { SPAWN_MAGIC = 0x43445831 }; /* "CDX1" */

enum spawn_type {
    /* codexd → spawner */
    SPAWN_RUN = 1, /* start a runner; body: struct spawn_run; descriptors: enum spawn_run_fd */
    SPAWN_CANCEL,  /* end a run softly (what was done is kept); body: struct spawn_cancel */
    SPAWN_GIT,     /* start codex-git; body: struct spawn_git; descriptors: as its fd_numbers say */
    SPAWN_GIT_END, /* end a codex-git that is not wanted any more; body: struct spawn_git, its id */
    SPAWN_CHECK, /* look at the machine (codex-runner --check); no body; one descriptor: a pipe that
                      takes the findings. Its end is the answer */
    SPAWN_GATEWAY, /* start a gateway without a run, to try a provider; no body; descriptors: enum
                      spawn_gateway_fd. What becomes of it is seen by its control socket */
    SPAWN_FORGET, /* no further run will come of a task that has all it needs: what a runner that was
                      killed has kept for one goes. Not answered; body: struct spawn_cancel */
    /* spawner → codexd */
    SPAWN_RUN_STARTED = 100, /* body: struct spawn_report */
    SPAWN_RUN_ENDED, /* the runner is gone and what it left is cleaned; struct spawn_report */
    SPAWN_GIT_ENDED, /* struct spawn_report */
    SPAWN_FAILED,    /* a request could not be carried out; struct spawn_report with message */
};

enum { SPAWN_TASK_SIZE = 32, SPAWN_REPO_SIZE = 128, SPAWN_LAYER_SIZE = 65, SPAWN_ARGS_SIZE = 8192 };

/* Identifies a run. `task` matches task-[a-z0-9]{6,16}. */
struct run_name {
    char task[SPAWN_TASK_SIZE];
    uint32_t turn, attempt, run;
};

struct run_limits {
    uint64_t memory_bytes; /* memory + swap of one sandbox */
    uint32_t cpu_milli;    /* thousandths of a core; 0: no limit */
    uint32_t pids;
    uint64_t disk_bytes;     /* of one writable layer; 0: no limit */
    uint64_t inodes;         /* files on it; 0: by disk_bytes */
    int64_t timeout_ms;      /* wall time of the whole run */
    int64_t test_timeout_ms; /* wall time of one test run */
    uint64_t archive_bytes;  /* what the archive may have */
};

enum spawn_run_flags {
    SPAWN_RUN_BASELINE_KNOWN = 1, /* codexd has this commit's baseline: its status is given */
    SPAWN_RUN_WITH_REPLAY = 2,    /* a replay file comes as the last descriptor */
    SPAWN_RUN_SALVAGE = 4, /* no work: what earlier runs left is committed, archived and removed */
    SPAWN_RUN_ALLOW_ROOT = 8, /* the repository may have its commands run as the container's root */
};

struct spawn_run {
    struct run_name name;
    uint32_t flags;
    int32_t baseline_status; /* exit status of `codex-agent test`, when known */
    uint32_t verify_rounds;
    struct run_limits limits;
    char repo[SPAWN_REPO_SIZE];   /* one path component: the directory below /workspace */
    char layer[SPAWN_LAYER_SIZE]; /* [0-9a-f]+: names everything of the task that its environment
                                     layer depends on */
};

enum spawn_run_fd {
    SPAWN_FD_TASK,        /* task.json, sealed */
    SPAWN_FD_GATEWAY,     /* gateway.json, sealed */
    SPAWN_FD_BASE_BUNDLE, /* read-only */
    SPAWN_FD_WORK_BUNDLE, /* read-write, empty */
    SPAWN_FD_ARCHIVE,     /* write, empty */
    SPAWN_FD_EVENTS,      /* read-write, O_APPEND */
    /* Lists of tests (task/test_list.h), which pass through as bytes. */
    SPAWN_FD_TESTS_BEFORE, /* read-write; the baseline's when it is known, else empty */
    SPAWN_FD_TESTS_AFTER,  /* read-write, empty: the last verification's */
    SPAWN_FD_REPLAY,       /* read-only, optional */
    SPAWN_FD_COUNT,
};

enum spawn_gateway_fd {
    SPAWN_GATEWAY_CONTROL, /* a SEQPACKET socket: we are its runner (gateway_control.h) */
    SPAWN_GATEWAY_EVENTS,  /* read-write, O_APPEND */
    SPAWN_GATEWAY_CONFIG,  /* gateway.json, sealed */
    SPAWN_GATEWAY_FDS,
};

struct spawn_cancel {
    struct run_name name;
};

enum spawn_git_as {
    SPAWN_GIT_ISOLATED, /* uid 65534, an empty network namespace, a scratch directory; no state */
    SPAWN_GIT_AS_SUBMITTER, /* `uid`; when that is root, the owner of `repository` */
    SPAWN_GIT_REMOTE, /* `uid`, which is codexd's own and not root; the host's network; of its files
                         the programs, what names and certificates are looked up with, a scratch
                         directory, and the directory that comes as SPAWN_GIT_MIRROR_FD */
};

enum { SPAWN_GIT_FDS_MAX = 8, SPAWN_GIT_MIRROR_FD = 15 };

/* Where a SPAWN_GIT_REMOTE finds its mirror. */
#define SPAWN_GIT_MIRROR "/mirror"

struct spawn_git {
    uint32_t id; /* chosen by codexd; comes back in the report */
    uint32_t as; /* enum spawn_git_as */
    uint32_t uid;
    uint32_t argc; /* arguments after "codex-git" */
    int64_t timeout_ms;
    uint32_t fds_count;
    uint8_t fd_numbers[SPAWN_GIT_FDS_MAX]; /* of the n-th descriptor in the child; the rest: closed,
                                              0, 1 and 2: /dev/null */
    char repository[4096];                 /* SPAWN_GIT_AS_SUBMITTER */
    char args[SPAWN_ARGS_SIZE];            /* argc NUL-terminated strings, one after the other */
};

struct spawn_report {
    struct run_name name; /* of runs */
    uint32_t id;          /* of git */
    int32_t pid;
    int32_t wait_status; /* as from waitpid; -1 for a runner that another spawner started;
                            SPAWN_FAILED: a negative code, -errno where it is one */
    char message[512];   /* SPAWN_FAILED: why */
};

struct spawn_message {
    uint32_t magic;
    uint32_t type;
    union {
        struct spawn_run run;
        struct spawn_cancel cancel;
        struct spawn_git git;
        struct spawn_report report;
    } body;
};

#endif
