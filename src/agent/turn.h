/*
 * The turn loop: ask the model, run the calls that it answers with, ask again with what came of
 * them, until an answer without calls ends the turn, or something does.
 */
#ifndef CODEX_AGENT_TURN_H
#define CODEX_AGENT_TURN_H

#include "agent/conversation.h"
#include "agent/events.h"
#include "agent/model.h"
#include "agent/tool.h"
#include "base/err.h"
#include "loop/loop.h"
#include "task/exit.h"

struct turn_parts {
    struct loop *loop;
    struct events *events;
    struct conversation *conversation; /* no open calls; the model is to answer */
    struct model *model;
    const struct tool_group *groups;
    size_t groups_count;
};

/* Go through the turn, and end what the tools started. SIGTERM stops it. For every status but
 * AGENT_EXIT_DONE, WHY says the reason in one sentence, and `turn.failed` is left to the caller.
 * The loop is not to run again. */
enum agent_exit turn_run(const struct turn_parts *parts, struct err *why);

#endif
