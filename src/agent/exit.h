/*
 * Exit statuses of `codex-agent run`: all that the runner goes by. The sentence for a person is the
 * last line on standard error, and `turn.failed` in the events.
 */
#ifndef CODEX_AGENT_EXIT_H
#define CODEX_AGENT_EXIT_H

enum agent_exit {
    AGENT_EXIT_DONE = 0,          /* the model ended its turn */
    AGENT_EXIT_MODEL_FAILED = 10, /* it refused the request, or stayed broken through all retries */
    AGENT_EXIT_BUDGET = 11,       /* the task's token budget is used up */
    AGENT_EXIT_GAVE_UP = 12,      /* the model went round in circles, also after being told so */
    AGENT_EXIT_BAD_INPUT = 13,    /* task.json, the feedback or the journal cannot be used */
    AGENT_EXIT_MODEL_BUSY = 14,   /* rate limit, quota or overload outlasted the retries */
    AGENT_EXIT_KEY_REFUSED = 15,  /* 401 or 403: no retry will help */
    AGENT_EXIT_CONTEXT_FULL = 16, /* the conversation no longer fits the model's context window */
    AGENT_EXIT_STOPPED = 17,      /* SIGTERM; the journal is complete, a later start goes on */
    AGENT_EXIT_INTERNAL = 18,     /* its own state could not be kept: disk full, events unread */
};

#endif
