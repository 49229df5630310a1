/* What a person can do about a command of set-up that has failed. */
#ifndef CODEX_WORKSPACE_SETUP_ADVICE_H
#define CODEX_WORKSPACE_SETUP_ADVICE_H

#include "base/buf.h"
#include "workspace/deps.h"
#include "workspace/supervise.h"

/* One line: the command, how it ended, what to try. OUTPUT_TAIL: the end of what it printed. */
void setup_advice(const struct deps_command *command, const struct supervised_end *end,
                  const char *output_tail, struct buf *out);

#endif
