/*
 * The event file of a run: one JSON object a line, whole lines only, appended by the gateway alone.
 *
 *     struct buf *line = event_begin(events, "limit.hit", phase);
 *     buf_appendf(line, ",\"figure\":%d", 7);
 *     event_end(events);
 *
 * The first failure is final: it is reported once by `failed`, and what is written after it goes
 * nowhere. So no writer of events has to look.
 */
#ifndef CODEX_GATEWAY_EVENT_FILE_H
#define CODEX_GATEWAY_EVENT_FILE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct event_file;

/* What happened; ERR's code is -errno. */
typedef void event_failed_fn(void *arg, const struct err *err);

/* FD (not owned) is opened for appending. A line that a killed gateway left unfinished is ended, so
 * that it spoils no other. NULL on failure. */
struct event_file *event_file_new(int fd, event_failed_fn *failed, void *arg, struct err *err);
void event_file_free(struct event_file *events);

/* Begin a line with its time, type and phase (enum phase); the caller appends ",\"member\":value"
 * and ends it. The buffer is good until then. */
struct buf *event_begin(struct event_file *events, const char *type, uint32_t phase);
void event_end(struct event_file *events);

/* The whole of a `limit.hit`. LIMIT is one of those that limit_unit() knows (task/limits.h). */
void event_limit_hit(struct event_file *events, uint32_t phase, const char *limit, uint64_t figure);

/* Everything written so far survives a crash of the machine. Returns 0 or negative (and
 * reports). */
int event_file_sync(struct event_file *events);

#endif
