/*
 * The event lines of `codex-agent run`, on its descriptor 3: one JSON object a line, shapes as in
 * openai/codex `exec --json`. The gateway reads them; nobody answers.
 *
 * Writing waits while the reader does not keep up (that is the back-pressure), but not once SIGTERM
 * has come. The first failure is kept (events_status) and what follows is dropped: the turn loop
 * asks at every step, so no caller has to.
 */
#ifndef CODEX_AGENT_EVENTS_H
#define CODEX_AGENT_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct events;

enum {
    EVENTS_TEXT_MAX = 65536, /* bytes of one text in an event; a longer one keeps head and tail */
    EVENTS_ID_SIZE = 32,
};

enum event_stage { EVENT_STARTED, EVENT_UPDATED, EVENT_COMPLETED };

struct usage {
    int64_t input_tokens, cached_input_tokens, output_tokens, reasoning_output_tokens;
};

/* FD (not owned) may be -1: then events go nowhere. SESSION counts the starts of the agent on this
 * journal, from 0: it keeps the ids of items apart. */
struct events *events_new(int fd, unsigned session);
void events_free(struct events *events);

/* 0, or -errno of the first line that could not be written. */
int events_status(const struct events *events);

void events_thread_started(struct events *events, const char *thread_id);
void events_turn_started(struct events *events);
void events_turn_completed(struct events *events, const struct usage *usage);
void events_turn_failed(struct events *events, const char *message);
void events_error(struct events *events, const char *message); /* a passing trouble: "retrying…" */

/* A new item's id. The item's lines all carry it: started, updated as often as one likes,
 * completed. A short-lived item has only `completed`. */
void events_item_id(struct events *events, char id[EVENTS_ID_SIZE]);

void events_agent_message(struct events *events, enum event_stage stage, const char *id,
                          const char *text);
void events_reasoning(struct events *events, enum event_stage stage, const char *id,
                      const char *text);
void events_item_error(struct events *events, const char *message); /* completed, with a new id */

struct event_command {
    const char *command; /* as the model gave it */
    const char *output;  /* what has come so far, any bytes; NULL: none */
    size_t output_len;
    bool ended;         /* exit_code holds; not when the agent's end interrupted it */
    int exit_code;      /* 128 + signal for one that a signal ended */
    const char *status; /* "in_progress", "completed" (exit code 0), "failed" */
};
void events_command(struct events *events, enum event_stage stage, const char *id,
                    const struct event_command *command);

struct event_change {
    const char *path;
    const char *kind; /* "add", "delete", "update" */
};
/* STATUS: "in_progress", "completed" or "failed". */
void events_file_change(struct events *events, enum event_stage stage, const char *id,
                        const struct event_change *changes, size_t count, const char *status);

struct event_todo {
    const char *text;
    bool completed;
};
void events_todo_list(struct events *events, enum event_stage stage, const char *id,
                      const struct event_todo *items, size_t count);

#endif
