#include "agent/tools/job.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"

enum {
    UPDATE_FIRST_MS = 300, /* events while it runs: a few a second at first … */
    UPDATE_LAST_MS = 5000, /* … fewer of one that goes on and on: they all are kept */
    UPDATE_FRACTION = 10,  /* of the time it has been running */
    UPDATE_TOKENS = 2000,
    WHOLE_TOKENS = 16000, /* of the completed item: below EVENTS_TEXT_MAX, with the mark */
    STATUS_MAX = 64,
    TEXT_EXTRA_BYTES = 256, /* all that is not output */
};

static void emit(struct job *job, enum event_stage stage, uint64_t max_tokens)
{
    const struct session *session = job->session;
    AUTO_BUF struct buf text;
    buf_init(&text, SESSION_SHOWN_BYTES + TEXT_EXTRA_BYTES);
    output_text(&session->whole, max_tokens, &text);
    bool ended = stage == EVENT_COMPLETED;
    events_command(job->host->events, stage, job->item_id,
                   &(struct event_command){
                       .command = job->command,
                       .output = text.data,
                       .output_len = text.len,
                       .ended = ended && !job->interrupted,
                       .exit_code = session->exit_code,
                       .status = !ended                                         ? "in_progress"
                                 : session->exit_code == 0 && !job->interrupted ? "completed"
                                                                                : "failed",
                   });
}

static void update(void *arg)
{
    struct job *job = arg;
    job->update = NULL;
    emit(job, EVENT_UPDATED, UPDATE_TOKENS);
}

static void printed(void *arg)
{
    struct job *job = arg;
    if (job->update)
        return;
    int64_t delay_ms = (clock_mono_ms() - job->began_ms) / UPDATE_FRACTION;
    if (delay_ms < UPDATE_FIRST_MS)
        delay_ms = UPDATE_FIRST_MS;
    if (delay_ms > UPDATE_LAST_MS)
        delay_ms = UPDATE_LAST_MS;
    job->update = loop_add_timer(job->host->loop, delay_ms, update, job);
}

void job_text(int64_t began_us, const char *status, const struct output *output,
              uint64_t max_tokens, struct buf *out)
{
    buf_appendf(out, "Wall time: %.4f seconds\n%s\nOriginal token count: %llu\nOutput:\n",
                (double)(clock_mono_us() - began_us) / 1e6, status,
                (unsigned long long)output_tokens(output));
    output_text(output, max_tokens, out);
}

/* The answer to the call that waits: what came since the last one. It is finished last, when
 * nothing of the job is touched any more, since the turn loop may start the next call from
 * within. */
static struct tool_call *take_answer(struct job *job, const char *status, struct buf *text)
{
    struct tool_call *call = job->call;
    buf_init(text, SESSION_KEPT_BYTES + TEXT_EXTRA_BYTES);
    job_text(job->call_began_us, status, &job->session->unread, job->max_output_tokens, text);
    output_release(&job->session->unread);
    loop_remove(job->yield);
    job->yield = NULL;
    job->call = NULL;
    job->call_began_us = 0;
    return call;
}

static void answer(struct job *job, bool ok, const char *status)
{
    AUTO_BUF struct buf text;
    struct tool_call *call = take_answer(job, status, &text);
    tool_call_finish(call, ok, text.data, text.len);
}

static void yield(void *arg)
{
    struct job *job = arg;
    char status[STATUS_MAX];
    job->yield = NULL;
    snprintf(status, sizeof status, "Process running with session ID %u", job->id);
    answer(job, true, status);
}

/* Tell the owner, who frees the job, and then the call that waits. */
static void answer_end(struct job *job)
{
    char status[STATUS_MAX];
    AUTO_BUF struct buf text;
    snprintf(status, sizeof status, "Process exited with code %d", job->session->exit_code);
    struct tool_call *call = take_answer(job, status, &text);
    job->ended(job->arg, job, true);
    tool_call_finish(call, true, text.data, text.len);
}

static void session_ended(void *arg)
{
    struct job *job = arg;
    loop_remove(job->update);
    job->update = NULL;
    emit(job, EVENT_COMPLETED, WHOLE_TOKENS);
    if (job->call)
        answer_end(job);
    else
        job->ended(job->arg, job, false);
}

struct job *job_start(const struct command *command, unsigned id, const char *text,
                      job_ended_fn *ended, void *arg, struct err *err)
{
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        abort();
    *job = (struct job){.id = id,
                        .host = command->host,
                        .command = str_dup(text),
                        .began_ms = clock_mono_ms(),
                        .call_began_us = clock_mono_us(),
                        .ended = ended,
                        .arg = arg};
    const struct session_watcher watcher = {printed, session_ended, job};
    job->session = session_start(command, &watcher, err);
    if (!job->session) {
        job_free(job);
        return NULL;
    }
    events_item_id(job->host->events, job->item_id);
    emit(job, EVENT_STARTED, 0);
    return job;
}

void job_wait(struct job *job, struct tool_call *call, int64_t yield_ms, uint64_t max_output_tokens)
{
    job->call = call;
    if (!job->call_began_us)
        job->call_began_us = clock_mono_us();
    job->max_output_tokens = max_output_tokens;
    if (job->session->ended)
        answer_end(job);
    else
        job->yield = loop_add_timer(job->host->loop, yield_ms, yield, job);
}

void job_interrupt(struct job *job)
{
    job->interrupted = !job->session->ended;
    if (job->call)
        answer(job, false, "Interrupted: the agent was told to stop");
}

void job_free(struct job *job)
{
    if (!job)
        return;
    loop_remove(job->yield);
    loop_remove(job->update);
    session_free(job->session);
    free(job->command);
    free(job);
}
