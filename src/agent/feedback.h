/* A verification that failed, as the message to the model that begins the next round. */
#ifndef CODEX_AGENT_FEEDBACK_H
#define CODEX_AGENT_FEEDBACK_H

#include "base/buf.h"
#include "base/err.h"

enum { FEEDBACK_MAX_BYTES = 1 << 20 }; /* of the result; the platform sends at most 64 KiB */

/* From descriptor FD: the result of `codex-agent test` (docs/protocols.md), with `newly_broken`, a
 * list of test names, where the platform knows them. The message goes to OUT. */
int feedback_read(int fd, struct buf *out, struct err *err);

#endif
