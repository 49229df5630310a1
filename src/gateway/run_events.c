#include "gateway/run_events.h"

#include <inttypes.h>

#include "base/json_text.h"
#include "gateway/output.h"
#include "gateway/outside_json.h"
#include "task/limits.h"
#include "task/phase.h"

void run_event_phase_started(struct event_file *events, const struct control_message *message)
{
    struct buf *line = event_begin(events, "phase.started", message->head.phase);
    buf_appendf(line, ",\"round\":%" PRIu32, message->head.round);
    event_end(events);
}

void run_event_phase_completed(struct event_file *events, const struct control_message *message)
{
    const struct gateway_control *head = &message->head;
    json_t *result = outside_object(message->payload, head->payload_size);
    if (head->payload_size && !result) {
        static const char note[] = "the step's result is not a JSON object: left out\n";
        output_note(events, head->phase, note, sizeof note - 1);
    }
    struct buf *line = event_begin(events, "phase.completed", head->phase);
    buf_appendf(line, ",\"round\":%" PRIu32 ",\"status\":%" PRId32 ",\"duration_ms\":%" PRId64,
                head->round, head->status, head->duration_ms);
    buf_append_str(line, ",\"result\":");
    if (result)
        outside_append(line, result);
    else
        buf_append_str(line, "null");
    event_end(events);
    json_decref(result);
}

void run_event_limit_hit(struct event_file *events, const struct control_message *message)
{
    /* The runner is trusted; but a name that nobody knows would be a limit without a unit. */
    if (limit_unit(message->payload))
        event_limit_hit(events, message->head.phase, message->payload, message->head.figure);
}

void run_event_note(struct event_file *events, const struct control_message *message)
{
    output_note(events, message->head.phase, message->payload, message->head.payload_size);
}

static void append_archive(struct buf *line, const struct gateway_control *head)
{
    if (!head->has_archive) {
        buf_append_str(line, ",\"archive\":null");
        return;
    }
    buf_appendf(line, ",\"archive\":{\"size_bytes\":%" PRIu64 ",\"sha256\":\"", head->archive_size);
    for (size_t i = 0; i < sizeof head->archive_sha256; i++)
        buf_appendf(line, "%02x", head->archive_sha256[i]);
    buf_append_str(line, "\"}");
}

void run_event_ended(struct event_file *events, const struct control_message *message)
{
    const struct gateway_control *head = &message->head;
    struct buf *line = event_begin(events, "run.ended", head->phase);
    buf_appendf(line, ",\"outcome\":\"%s\",\"fault\":", run_outcome_name(head->outcome));
    if (head->fault == FAULT_NONE) {
        buf_append_str(line, "null");
    } else {
        buf_appendf(line,
                    "{\"kind\":\"%s\",\"step\":\"%s\",\"message\":", fault_kind_name(head->fault),
                    phase_name(head->phase));
        json_text_string(line, message->payload, head->payload_size);
        buf_append_char(line, '}');
    }
    buf_appendf(line, ",\"changed\":%s", head->changed ? "true" : "false");
    append_archive(line, head);
    event_end(events);
}
