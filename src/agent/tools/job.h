/*
 * A command as the model and the events see it: an item of the events from start to end, and a
 * session id that calls of exec_command and write_stdin wait on.
 */
#ifndef CODEX_AGENT_TOOLS_JOB_H
#define CODEX_AGENT_TOOLS_JOB_H

#include "agent/tools/session.h"

struct job;

/* JOB's process and output have ended, and its item is completed. WAITED: its end is about to be
 * told to the call that waits, and the job is over: the callee forgets and frees it. Otherwise it
 * stays, until a call asks. */
typedef void job_ended_fn(void *arg, struct job *job, bool waited);

struct job {
    struct job *next; /* the owner's list */
    unsigned id;      /* what the model calls it by */
    bool login;       /* run by a login shell */
    struct session *session;
    struct tool_call *call; /* waits for it; NULL: none */

    /* private */
    const struct tool_host *host;
    char *command;
    char item_id[EVENTS_ID_SIZE];
    bool interrupted;
    int64_t began_ms;      /* the job */
    int64_t call_began_us; /* the call that waits, the first one before the fork; 0: none */
    uint64_t max_output_tokens;
    struct loop_source *yield, *update;
    job_ended_fn *ended;
    void *arg;
};

/* Start COMMAND; TEXT is what the model wrote. */
struct job *job_start(const struct command *command, unsigned id, const char *text,
                      job_ended_fn *ended, void *arg, struct err *err);

/* Answer CALL when the job ends or YIELD_MS are over, whichever is first. When it has ended
 * already, that is now, and the job is gone. */
void job_wait(struct job *job, struct tool_call *call, int64_t yield_ms,
              uint64_t max_output_tokens);

/* The agent ends: answer the call that waits, if any, as interrupted. */
void job_interrupt(struct job *job);

void job_free(struct job *job);

/* The text of an answer: "Wall time: …", how it stands (STATUS, one line), and the output. */
void job_text(int64_t began_us, const char *status, const struct output *output,
              uint64_t max_tokens, struct buf *out);

#endif
