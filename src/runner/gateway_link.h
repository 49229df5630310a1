/*
 * A run's gateway: its process, and the messages to it (task/gateway_control.h).
 *
 * A gateway that dies is replaced. For that we keep both ends of the control socket (what the dead
 * one had not read is still in it), a duplicate of each listener, and of every stream that has not
 * ended.
 */
#ifndef CODEX_RUNNER_GATEWAY_LINK_H
#define CODEX_RUNNER_GATEWAY_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "loop/loop.h"
#include "task/gateway_control.h"
#include "task/limits.h"
#include "task/phase.h"

enum { GATEWAY_STREAMS_MAX = 4, GATEWAY_RESTARTS_MAX = 5 };

struct gateway_stream {
    int fd; /* -1: free */
    uint32_t number, phase, kind;
    bool stopped;
};

struct gateway_link {
    struct loop *loop;
    const char *program, *task;
    int events_fd, config_fd, replay_fd; /* not owned; -1: no replay */
    int ours, theirs;
    pid_t pid;
    struct loop_source *process, *socket;
    int listeners[GATEWAY_LISTENER_COUNT]; /* -1: none */
    struct gateway_stream streams[GATEWAY_STREAMS_MAX];
    uint32_t streams_made;
    struct buf narrowing; /* what GATEWAY_NARROW says */
    bool narrowed;
    bool answered;             /* the gateway has read it: */
    struct task_limits limits; /* what it says of limits */
    unsigned restarts;
    struct gateway_control ended; /* type 0: GATEWAY_RUN_ENDED has not been sent */
    char ended_message[512];
    bool written;
    bool broken; /* no gateway can be had; why is in `err` */
    struct err err;
};

struct gateway_link_options {
    const char *program; /* codex-gateway */
    const char *task;    /* for the log */
    int events_fd, config_fd, replay_fd;
};

/* Not open: gateway_link_close() has nothing to do. */
void gateway_link_init(struct gateway_link *link);

/* Start the gateway. The options' strings and descriptors must outlive the link. */
int gateway_link_open(struct gateway_link *link, struct loop *loop,
                      const struct gateway_link_options *options, struct err *err);

/* End the gateway, once it has written what it was told. */
void gateway_link_close(struct gateway_link *link);

/* The messages. Descriptors become the link's. A failure is kept in `broken`: the caller asks at
 * every step. */
void gateway_link_listen(struct gateway_link *link, enum gateway_listener kind, int listener);
void gateway_link_unlisten(struct gateway_link *link, enum gateway_listener kind);
/* What the checkout of the base said, at most GATEWAY_PAYLOAD_MAX bytes: once, before anything of the
 * repository's runs. `answered` tells when its limits are known. */
void gateway_link_narrow(struct gateway_link *link, const struct buf *checkout);
void gateway_link_phase_started(struct gateway_link *link, uint32_t phase, uint32_t round);
void gateway_link_phase_completed(struct gateway_link *link, uint32_t phase, uint32_t round,
                                  int status, int64_t duration_ms, const char *result,
                                  size_t result_len);
void gateway_link_stream(struct gateway_link *link, uint32_t phase, enum gateway_stream_kind kind,
                         int fd);
void gateway_link_note(struct gateway_link *link, uint32_t phase, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void gateway_link_limit_hit(struct gateway_link *link, uint32_t phase, const char *limit,
                            uint64_t figure);

/* Whether everything of every stream is in the event file. */
bool gateway_link_is_drained(const struct gateway_link *link);

/* What is still to come from the streams does not matter. */
void gateway_link_stop_streams(struct gateway_link *link);

/* ENDED: type, payload_size and what belongs to them are filled in here. `written` tells when it is
 * safe. */
void gateway_link_run_ended(struct gateway_link *link, const struct gateway_control *ended,
                            const char *message);

#endif
