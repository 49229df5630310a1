/*
 * Noticing that the model goes round in circles: the same calls with the same results, one after
 * another, or a short cycle of them. It is told first, then stopped.
 */
#ifndef CODEX_AGENT_REPEAT_H
#define CODEX_AGENT_REPEAT_H

#include <stddef.h>
#include <stdint.h>

#include "base/json_text.h"

enum { REPEAT_CYCLE_MAX = 4 }; /* calls in the longest cycle that is noticed */

enum repeat_verdict { REPEAT_NONE, REPEAT_TELL, REPEAT_STOP };

/* All zero at first. */
struct repeat {
    uint64_t last[REPEAT_CYCLE_MAX];     /* signatures of the latest calls, the newest first */
    unsigned runs[REPEAT_CYCLE_MAX + 1]; /* how many in a row were as the one n calls before */
    unsigned times; /* how often the present cycle has come, for the message to the model */
    unsigned count;
};

/* A call has ended after DURATION_MS. Numbers in OUTPUT do not count: times, process ids and
 * counters differ where nothing else does. */
enum repeat_verdict repeat_note(struct repeat *repeat, const char *name, struct json_span arguments,
                                struct json_span output, int64_t duration_ms);

#endif
