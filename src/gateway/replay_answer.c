#include "gateway/replay_answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "gateway/outside_json.h"
#include "gateway/replay_item.h"

enum stage {
    CREATED,
    IN_PROGRESS,
    ITEM_ADDED,
    PART_ADDED,
    TEXT_DELTA,
    TEXT_DONE,
    PART_DONE,
    ITEM_DONE,
    COMPLETED,
    OVER,
};

void replay_answer_init(struct replay_answer *answer, const char *model, int turn, json_t *recorded)
{
    *answer = (struct replay_answer){.model = model, .turn = turn, .recorded = recorded};
}

void replay_answer_release(struct replay_answer *answer)
{
    json_decref(answer->recorded);
    answer->recorded = NULL;
}

static json_t *items_of(const struct replay_answer *answer)
{
    return json_object_get(answer->recorded, "output");
}

static json_t *response(const struct replay_answer *answer, bool completed)
{
    char id[32];
    snprintf(id, sizeof id, "resp_r%d", answer->turn);
    json_t *output = completed ? json_incref(items_of(answer)) : json_array();
    json_t *usage =
        completed ? json_incref(json_object_get(answer->recorded, "usage")) : json_null();
    return json_pack("{s:s, s:s, s:I, s:s, s:n, s:n, s:s, s:o, s:o}", "id", id, "object",
                     "response", "created_at", (json_int_t)(clock_real_ms() / 1000), "status",
                     completed ? "completed" : "in_progress", "error", "incomplete_details",
                     "model", answer->model, "output", output, "usage", usage);
}

/* What an item is when it begins: nothing said yet. */
static json_t *empty_item(const json_t *item)
{
    const struct replay_item_kind *kind = replay_item_kind(item);
    json_t *empty = json_copy((json_t *)item);
    json_object_set_new(empty, "status", json_string("in_progress"));
    if (kind->parts)
        json_object_set_new(empty, kind->parts, json_array());
    else
        json_object_set_new(empty, kind->text, json_string(""));
    return empty;
}

/* Append EVENT (taken over) as "event: …\ndata: …\n\n". */
static void write_event(struct replay_answer *answer, const char *type, json_t *event,
                        struct buf *out)
{
    if (!event)
        abort();
    json_object_set_new(event, "type", json_string(type));
    json_object_set_new(event, "sequence_number", json_integer(answer->sequence++));
    buf_appendf(out, "event: %s\ndata: ", type);
    outside_append(out, event);
    buf_append_str(out, "\n\n");
    json_decref(event);
}

/* An event about the current item: "item_id", "output_index", and the part's index. */
static json_t *about_item(const struct replay_answer *answer, const json_t *item)
{
    const struct replay_item_kind *kind = replay_item_kind(item);
    json_t *event = json_pack("{s:O, s:I}", "item_id", json_object_get(item, "id"), "output_index",
                              (json_int_t)answer->item);
    if (kind->part_index)
        json_object_set_new(event, kind->part_index, json_integer((json_int_t)answer->part));
    return event;
}

static void write_item_event(struct replay_answer *answer, const json_t *item, struct buf *out)
{
    bool done = answer->stage == ITEM_DONE;
    json_t *told = done ? json_incref((json_t *)item) : empty_item(item);
    write_event(answer, done ? "response.output_item.done" : "response.output_item.added",
                json_pack("{s:I, s:o}", "output_index", (json_int_t)answer->item, "item", told),
                out);
}

static void write_part_event(struct replay_answer *answer, const json_t *item, struct buf *out)
{
    const struct replay_item_kind *kind = replay_item_kind(item);
    bool done = answer->stage == PART_DONE;
    json_t *part = json_copy(json_array_get(json_object_get(item, kind->parts), answer->part));
    if (!done)
        json_object_set_new(part, "text", json_string(""));
    json_t *event = about_item(answer, item);
    json_object_set_new(event, "part", part);
    char type[64];
    snprintf(type, sizeof type, "%s.%s", kind->part_event, done ? "done" : "added");
    write_event(answer, type, event, out);
}

/* The next piece of the current text. Returns false when there is none left. */
static bool write_delta(struct replay_answer *answer, const json_t *item, struct buf *out)
{
    const char *text = replay_item_text(item, answer->part) + answer->at;
    size_t len = strnlen(text, REPLAY_DELTA_BYTES);
    if (len == 0)
        return false;
    len -= str_utf8_unfinished(text, len);
    answer->at += len;
    json_t *event = about_item(answer, item);
    json_object_set_new(event, "delta", json_stringn(text, len));
    char type[64];
    snprintf(type, sizeof type, "%s.delta", replay_item_kind(item)->text_event);
    write_event(answer, type, event, out);
    return true;
}

static void write_text_done(struct replay_answer *answer, const json_t *item, struct buf *out)
{
    const struct replay_item_kind *kind = replay_item_kind(item);
    json_t *event = about_item(answer, item);
    json_object_set_new(event, kind->text, json_string(replay_item_text(item, answer->part)));
    char type[64];
    snprintf(type, sizeof type, "%s.done", kind->text_event);
    write_event(answer, type, event, out);
}

/* The stage that follows the current one within an item, or that begins the next item. */
static enum stage next_stage(struct replay_answer *answer, const json_t *item)
{
    bool parts = replay_item_kind(item)->parts;
    switch (answer->stage) {
    case ITEM_ADDED:
        answer->part = answer->at = 0;
        return !replay_item_texts(item) ? ITEM_DONE : parts ? PART_ADDED : TEXT_DELTA;
    case PART_ADDED:
        return TEXT_DELTA;
    case TEXT_DELTA:
        return TEXT_DONE;
    case TEXT_DONE:
        if (parts)
            return PART_DONE;
        return ITEM_DONE;
    case PART_DONE:
        answer->at = 0;
        return ++answer->part < replay_item_texts(item) ? PART_ADDED : ITEM_DONE;
    default:
        return ++answer->item < json_array_size(items_of(answer)) ? ITEM_ADDED : COMPLETED;
    }
}

static void write_of_item(struct replay_answer *answer, struct buf *out)
{
    const json_t *item = json_array_get(items_of(answer), answer->item);
    if (answer->stage == TEXT_DELTA) {
        if (write_delta(answer, item, out))
            return; /* perhaps more of them */
        answer->stage = TEXT_DONE;
    }
    if (answer->stage == ITEM_ADDED || answer->stage == ITEM_DONE)
        write_item_event(answer, item, out);
    else if (answer->stage == TEXT_DONE)
        write_text_done(answer, item, out);
    else
        write_part_event(answer, item, out);
    answer->stage = next_stage(answer, item);
}

int replay_answer_next(struct replay_answer *answer, struct buf *out)
{
    switch (answer->stage) {
    case CREATED:
        write_event(answer, "response.created",
                    json_pack("{s:o}", "response", response(answer, false)), out);
        answer->stage = IN_PROGRESS;
        return 1;
    case IN_PROGRESS:
        write_event(answer, "response.in_progress",
                    json_pack("{s:o}", "response", response(answer, false)), out);
        answer->stage = ITEM_ADDED;
        return 1;
    case COMPLETED:
        write_event(answer, "response.completed",
                    json_pack("{s:o}", "response", response(answer, true)), out);
        answer->stage = OVER;
        return 1;
    case OVER:
        return 0;
    default:
        write_of_item(answer, out);
        return 1;
    }
}

void replay_answer_whole(const struct replay_answer *answer, struct buf *out)
{
    json_t *whole = response(answer, true);
    outside_append(out, whole);
    json_decref(whole);
}
