/*
 * One event loop a program: descriptors, timers, signals and children over epoll.
 * Single-threaded. Callbacks may add and remove any source, their own included: freed sources are
 * kept until the round of events is over, so that a late event never meets freed memory.
 */
#ifndef CODEX_LOOP_LOOP_H
#define CODEX_LOOP_LOOP_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct loop;
struct loop_source;

typedef void loop_fd_fn(void *arg, uint32_t epoll_events);
typedef void loop_timer_fn(void *arg);
typedef void loop_signal_fn(void *arg, int signal);
typedef void loop_child_fn(void *arg, pid_t pid, int wait_status);

struct loop *loop_new(struct err *err);
void loop_free(struct loop *loop);

/* Watch FD (not owned) for EVENTS (EPOLLIN, EPOLLOUT, EPOLLRDHUP). NULL on failure. */
struct loop_source *loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_fn *fn,
                                void *arg, struct err *err);
int loop_change_fd(struct loop_source *source, uint32_t events);

/* Call FN once after DELAY_MS (0: in the next round). The source is gone when FN is called. */
struct loop_source *loop_add_timer(struct loop *loop, int64_t delay_ms, loop_timer_fn *fn,
                                   void *arg);

/* Block SIGNAL in this process and call FN for each that arrives. */
int loop_add_signal(struct loop *loop, int signal, loop_signal_fn *fn, void *arg, struct err *err);

/* Call FN once when the child PID has ended; it is reaped here. The source is gone by then. */
struct loop_source *loop_add_child(struct loop *loop, pid_t pid, loop_child_fn *fn, void *arg,
                                   struct err *err);

/* Reap every child that ends from now on, also those that nobody added: what a subreaper
 * inherits. */
int loop_reap_orphans(struct loop *loop, struct err *err);

/* The same once, now: for who has to wait for an end outside of the loop. Callbacks of children are
 * called. */
void loop_reap_now(struct loop *loop);

/* Stop watching. NULL is fine. A child removed this way is no longer reaped by the loop. */
void loop_remove(struct loop_source *source);

/* Run until loop_stop(); returns what it was given, or negative. */
int loop_run(struct loop *loop, struct err *err);
void loop_stop(struct loop *loop, int status);

/* One round of events, waiting at most TIMEOUT_MS (-1: until something happens). */
int loop_run_once(struct loop *loop, int64_t timeout_ms, struct err *err);

#endif
