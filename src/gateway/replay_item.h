/* The kinds of output items that a recording may hold, and what their streams are made of. */
#ifndef CODEX_GATEWAY_REPLAY_ITEM_H
#define CODEX_GATEWAY_REPLAY_ITEM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct replay_item_kind {
    const char *type;
    const char *id_prefix;
    bool is_call;           /* it gets a call_id */
    const char *parts;      /* the member that is an array of parts with a text each; NULL: none */
    const char *text;       /* the member, of the part or of the item, that is streamed */
    const char *text_event; /* prefix of the .delta and .done events */
    const char *part_event; /* prefix of the .added and .done events; NULL without parts */
    const char *part_index; /* the member of the events that numbers the part */
};

/* The kind of ITEM, or NULL. */
const struct replay_item_kind *replay_item_kind(const json_t *item);

/* Is ITEM complete: a known type with everything that is streamed of it? */
int replay_item_check(const json_t *item, struct err *err);

/* Give ITEM, the N-th of turn TURN (both from 1), its ids and what else a served item has. */
void replay_item_number(json_t *item, int turn, size_t n);

/* How many texts ITEM streams, and the I-th; "" for one that is not there. */
size_t replay_item_texts(const json_t *item);
const char *replay_item_text(const json_t *item, size_t i);

#endif
