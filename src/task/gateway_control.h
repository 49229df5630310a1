/*
 * Messages between a runner and its gateway, on a SOCK_SEQPACKET pair (fd 3 of the gateway).
 * A message is the struct, then `payload_size` bytes of payload.
 */
#ifndef CODEX_TASK_GATEWAY_CONTROL_H
#define CODEX_TASK_GATEWAY_CONTROL_H

#include <stdint.h>

enum gateway_control_type {
    /* runner → gateway */
    /* kind (enum gateway_listener); one descriptor: listens in the sandbox, and takes the place of
     * the one of this kind before, which is closed. */
    GATEWAY_LISTEN = 1,
    GATEWAY_PHASE_STARTED, /* phase, round */
    /* phase, round, status, duration_ms; payload: the result's JSON or nothing */
    GATEWAY_PHASE_COMPLETED,
    GATEWAY_STREAM, /* phase, stream, kind; one descriptor: read it to its end */
    /* stream: what is still to come from it does not matter; answer ENDED. One that has ended
     * already is not answered again. */
    GATEWAY_STREAM_STOP,
    GATEWAY_LIMIT_HIT, /* phase; figure; payload: the limit's name */
    GATEWAY_NOTE,      /* phase; payload: text of the platform, becomes phase.output */
    GATEWAY_RUN_ENDED, /* outcome, fault, phase (the step), changed, archive_*; payload: message */
    GATEWAY_UNLISTEN,  /* kind: close that listener; its sandbox is gone */
    /* payload: the result of the base's checkout, whose `internet` narrows that of gateway.json, and
     * whose `limits` the runner is told. With `repository_narrows` there, the proxy takes no
     * connection before it. */
    GATEWAY_NARROW,
    /* gateway → runner */
    GATEWAY_STREAM_ENDED = 100, /* stream: everything of it is in the event file */
    GATEWAY_WRITTEN,            /* GATEWAY_RUN_ENDED is in the event file, and synced */
    GATEWAY_LIMIT, /* kind (enum task_limit), figure: one that what GATEWAY_NARROW brought names */
    GATEWAY_NARROWED, /* the last of the answers to GATEWAY_NARROW */
};

enum gateway_stream_kind {
    GATEWAY_STREAM_OUTPUT, /* bytes of a command: phase.output */
    GATEWAY_STREAM_EVENTS, /* the agent's event lines */
};

/* Two sandboxes of a run may be there at the same time: the one with the workspace, and one that the
 * environment is made or the tests are run in. */
enum gateway_listener {
    GATEWAY_LISTENER_MODEL, /* GATEWAY_MODEL_PORT of the workspace's sandbox */
    GATEWAY_LISTENER_PROXY, /* GATEWAY_PROXY_PORT of the same */
    GATEWAY_LISTENER_SIDE_PROXY,
    GATEWAY_LISTENER_COUNT,
};

enum { GATEWAY_PAYLOAD_MAX = 65536 };

struct gateway_control {
    uint32_t type;
    uint32_t phase; /* enum phase */
    uint32_t round; /* 1… */
    int32_t status;
    int64_t duration_ms;
    uint32_t stream; /* number of the stream, chosen by the runner */
    uint32_t kind;   /* enum gateway_stream_kind, enum gateway_listener */
    uint64_t figure;
    uint32_t outcome; /* enum run_outcome */
    uint32_t fault;   /* enum fault_kind */
    uint32_t changed; /* 1: there is a work bundle with a commit */
    uint32_t has_archive;
    uint64_t archive_size;
    uint8_t archive_sha256[32];
    uint32_t payload_size;
};

/* Descriptors of a gateway at its start. */
enum gateway_fd {
    GATEWAY_FD_CONTROL = 3,
    GATEWAY_FD_EVENTS = 4, /* the event file, O_APPEND */
    GATEWAY_FD_CONFIG = 5, /* gateway.json */
    GATEWAY_FD_REPLAY = 6, /* may be absent */
};

/*
 * Exit statuses of codex-gateway. Other than the first, each comes with one line on standard error.
 * A gateway whose runner closes the control socket writes what its streams hold by then, and exits.
 */
enum gateway_exit {
    GATEWAY_EXIT_DONE = 0,       /* the control socket was closed, or SIGTERM came */
    GATEWAY_EXIT_START = 10,     /* descriptors, gateway.json or privileges: no use to retry */
    GATEWAY_EXIT_CONTROL = 11,   /* a message that is none, or a descriptor that cannot be used */
    GATEWAY_EXIT_DISK_FULL = 12, /* the event file: no space, quota or size limit */
    GATEWAY_EXIT_EVENTS = 13,    /* the event file: any other error */
    GATEWAY_EXIT_INTERNAL = 14,
};

/* On 127.0.0.1 in the sandbox; above the ephemeral ports. */
enum { GATEWAY_MODEL_PORT = 64080, GATEWAY_PROXY_PORT = 64081 };

#endif
