/*
 * What the event file says of a run's internet: `network.denied` for what was refused, at once the
 * first time, and then counted, told at growing intervals; `network.used`, at the end of each phase,
 * for what was reached. A program that tries without end costs a bounded part of the file.
 */
#ifndef CODEX_GATEWAY_EGRESS_RECORD_H
#define CODEX_GATEWAY_EGRESS_RECORD_H

#include <stdint.h>

#include "gateway/egress/policy.h"
#include "gateway/event_file.h"
#include "loop/loop.h"

/* Places that are told of by name in one phase; what is beyond is counted together. */
enum { RECORD_DENIED_MAX = 128, RECORD_USED_MAX = 128, RECORD_FIRST_WAIT_MS = 10000 };

struct record;

struct record *record_new(struct loop *loop, struct event_file *events);
void record_free(struct record *record); /* what waits is not written: record_flush() */

/* ADDRESS: where HOST was found, when that is the reason; else NULL. MESSAGE: the sentence that the
 * client was told. */
void record_denied(struct record *record, const struct net_host *host, uint16_t port,
                   enum egress_verdict verdict, const struct net_address *address,
                   const char *message);

/* A connection to HOST:PORT has ended, after so many bytes. */
void record_used(struct record *record, const struct net_host *host, uint16_t port,
                 uint64_t sent_bytes, uint64_t received_bytes);

/* A connection was refused because there were COUNT already; told once in a phase. */
void record_connections_full(struct record *record, unsigned count);

/* Write everything that waits; from now on it is PHASE (enum phase). */
void record_flush(struct record *record, uint32_t phase);

#endif
