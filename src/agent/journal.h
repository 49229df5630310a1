/*
 * The journal of an agent: `journal.jsonl` in its state directory, one record a line, only ever
 * appended to. What a record means is conversation.h's; here is what makes it last.
 *
 * A record is written whole, by one write(2), before what it tells is acted on, so it survives the
 * agent and its sandbox. A crash leaves at most one torn line, the last, which the next start cuts
 * off. Against the loss of the machine the file is synced while the agent waits for its model
 * (journal_sync), where it costs nothing: on the critical path a write takes 0.007 ms, a
 * fdatasync 0.2 ms on a fast disk and 10 ms on a slow one, and there are four or more records a
 * turn. What such a loss takes with it is at most the running turn, and the files that the turn's
 * commands wrote are no safer.
 */
#ifndef CODEX_AGENT_JOURNAL_H
#define CODEX_AGENT_JOURNAL_H

#include <stddef.h>

#include "base/err.h"

struct journal;

enum { JOURNAL_MAX_BYTES = 256 << 20 };

/* One whole line of the journal, without its end. Negative stops the reading. */
typedef int journal_line_fn(void *arg, const char *line, size_t len, struct err *err);

/* Open it in the directory DIR_FD, or begin it, and hand every line to FN. NULL on failure:
 * ERR_CONFLICT when another agent has it open, or what FN returned, its message led by "line N". */
struct journal *journal_open(int dir_fd, journal_line_fn *fn, void *arg, struct err *err);
void journal_free(struct journal *journal);

/* Write LINE, which ends with its only line end. */
int journal_append(struct journal *journal, const char *line, size_t len, struct err *err);

/* Make what was written outlast the machine. Cheap when nothing was written since. */
int journal_sync(struct journal *journal, struct err *err);

#endif
