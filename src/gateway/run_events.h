/* Events that the runner tells of: phases, limits, the end of the run. */
#ifndef CODEX_GATEWAY_RUN_EVENTS_H
#define CODEX_GATEWAY_RUN_EVENTS_H

#include "gateway/control.h"
#include "gateway/event_file.h"

void run_event_phase_started(struct event_file *events, const struct control_message *message);

/* The payload is a step's result, written in the sandbox: one that is no JSON object within the
 * bounds of outside_json.h becomes null, and a line of output says so. */
void run_event_phase_completed(struct event_file *events, const struct control_message *message);

void run_event_limit_hit(struct event_file *events, const struct control_message *message);
void run_event_note(struct event_file *events, const struct control_message *message);
void run_event_ended(struct event_file *events, const struct control_message *message);

#endif
