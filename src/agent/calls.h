/*
 * Running the calls of one answer: all at the same time, but for exclusive ones, which run alone in
 * their place. What cannot be run (an unknown tool, arguments that are not what the tool takes) is
 * answered with the reason. Every begin and every end is in the journal at once; the outputs enter
 * the conversation in the order of the calls.
 */
#ifndef CODEX_AGENT_CALLS_H
#define CODEX_AGENT_CALLS_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/conversation.h"
#include "agent/events.h"
#include "agent/repeat.h"
#include "agent/tool.h"
#include "base/err.h"
#include "loop/loop.h"

struct calls;

struct calls *calls_new(struct loop *loop, struct events *events, struct conversation *conversation,
                        const struct tool_group *groups, size_t groups_count);
void calls_free(struct calls *calls);

/* STATUS: 0, or the first that went wrong in the conversation's journal, as ERR says. VERDICT: the
 * gravest on any of the calls; TIMES: how often the model has done the same. */
typedef void calls_done_fn(void *arg, int status, const struct err *err,
                           enum repeat_verdict verdict, unsigned times);

/* Run the conversation's open calls, none of which was begun. FN is called once, from the loop. */
void calls_run(struct calls *calls, calls_done_fn *fn, void *arg);

/* Begin none of those that wait, and do not call FN any more. Those that run end with their
 * groups. */
void calls_stop(struct calls *calls);

/* Whether any call so far did what the model asked for. */
bool calls_any_succeeded(const struct calls *calls);

#endif
