/*
 * Event lines of the agent: written by whatever runs in the sandbox, so each is checked and made
 * anew before it enters the event file.
 */
#ifndef CODEX_GATEWAY_AGENT_EVENT_H
#define CODEX_GATEWAY_AGENT_EVENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/event_file.h"

enum { AGENT_EVENT_MAX_BYTES = (4 << 20) + 4096 };

struct agent_event {
    const char *type;    /* static */
    const char *member;  /* static; NULL: the type alone says it */
    const json_t *value; /* of the member, in `root` */
    json_t *root;
};

/* Is LINE (LEN bytes, without its line end) an event: a known type, with the member that belongs to
 * it? All its other members are ignored. When true, the caller releases it. */
bool agent_event_parse(struct agent_event *event, const char *line, size_t len);

/* Write it, with our time and PHASE. */
void agent_event_write(const struct agent_event *event, struct event_file *events, uint32_t phase);
void agent_event_release(struct agent_event *event);

#endif
